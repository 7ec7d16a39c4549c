-- Which log the newest changes are in: it is this log's first change. A copy of it is kept beside the file until a part of
-- the log may be in the file.

ALTER TABLE installation ADD COLUMN log_id INTEGER;
