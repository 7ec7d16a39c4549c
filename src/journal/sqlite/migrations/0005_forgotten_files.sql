-- Attachments that are forgotten and whose files may still be there: a process may have died before it removed them.

CREATE TABLE forgotten_files (
    attachment TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
