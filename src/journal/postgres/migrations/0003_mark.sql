-- One row: how far the installation has come with this journal. A copy of `mark` is kept outside of it.

CREATE TABLE installation (
    only_one     bigint NOT NULL PRIMARY KEY CHECK (only_one = 1),
    mark         bigint NOT NULL,
    confirmed_at bigint,            -- when an operator has said that an earlier state is what there is now
    copied_at    bigint             -- of a backup: when it was taken
);
INSERT INTO installation (only_one, mark)
SELECT 1, min(applied_at) FROM schema_version;
