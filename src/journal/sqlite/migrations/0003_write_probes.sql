-- What readiness writes, to see whether it can: one row a process.
CREATE TABLE write_probes (
    process    TEXT    NOT NULL PRIMARY KEY,
    written_at INTEGER NOT NULL,
    padding    BLOB    NOT NULL
) STRICT;
