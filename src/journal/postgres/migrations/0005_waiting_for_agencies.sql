-- Since when a submission waits for an agency that is away, and whose submission it is that waits to be published.

ALTER TABLE submissions ADD COLUMN waiting_since bigint;
ALTER TABLE outbox ADD COLUMN office text NOT NULL DEFAULT '';
UPDATE outbox SET office = (SELECT office FROM submissions WHERE id = submission);
