-- One row: how far the installation has come with this journal. A copy of `mark` is kept outside of it.

CREATE TABLE installation (
    only_one     INTEGER NOT NULL PRIMARY KEY CHECK (only_one = 1),
    mark         INTEGER NOT NULL,
    confirmed_at INTEGER,           -- when an operator has said that an earlier state is what there is now
    copied_at    INTEGER,           -- of a backup: when it was taken
    in_use       INTEGER NOT NULL   -- not closed in order: the log beside the file belongs to it
) STRICT;
INSERT INTO installation (only_one, mark, in_use) SELECT 1, min(applied_at), 0 FROM schema_version;
