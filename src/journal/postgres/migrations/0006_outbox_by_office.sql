-- The outbox is read office by office, so that each has its turn.

DROP INDEX outbox_in_order;
CREATE INDEX outbox_by_office ON outbox (agency, office, urgent DESC, added_at, submission);
