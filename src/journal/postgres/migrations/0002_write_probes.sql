-- What readiness writes, to see whether it can: one row a process. Never compressed, so that it takes the room that it says.
CREATE TABLE write_probes (
    process    uuid   NOT NULL PRIMARY KEY,
    written_at bigint NOT NULL,
    padding    bytea  NOT NULL
);
ALTER TABLE write_probes ALTER COLUMN padding SET STORAGE EXTERNAL;
