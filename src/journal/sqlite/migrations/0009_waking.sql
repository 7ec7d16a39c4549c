-- What may be woken when its agency is there again: read office by office, oldest first. A table of its own, because an index
-- of the submissions would keep writers waiting while it is made, and would be as large as they are many.

CREATE TABLE waiting_for_agencies (
    submission TEXT    NOT NULL PRIMARY KEY REFERENCES submissions (id),
    agency     TEXT    NOT NULL,
    office     TEXT    NOT NULL,
    since      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX waiting_for_agencies_by_office ON waiting_for_agencies (agency, office, since, submission);
-- What waits is found by its due time. Where the agency itself has named a time, that time is waited for.
INSERT INTO waiting_for_agencies (submission, agency, office, since)
SELECT id, agency, office, changed_at FROM submissions
WHERE due_at IS NOT NULL AND state = 'retrying' AND waiting_since IS NOT NULL
  AND json_extract(state_data, '$.fault.retry_after') IS NULL;
