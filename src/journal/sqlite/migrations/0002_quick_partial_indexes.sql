-- A list of more than two values in an index's condition costs a temporary table at every change of a row.

DROP INDEX submissions_open;
CREATE INDEX submissions_open ON submissions (expires_at)
    WHERE state = 'accepted' OR state = 'queued' OR state = 'retrying' OR state = 'waiting';
DROP INDEX submissions_to_erase;
CREATE INDEX submissions_to_erase ON submissions (changed_at)
    WHERE erased_at IS NULL
      AND (state = 'completed' OR state = 'refused' OR state = 'expired' OR state = 'cancelled');
