-- What each office has uploaded is summed at every upload: one look at its own rows, and one at the sizes alone for all.

CREATE INDEX attachments_of_office ON attachments (office, size_bytes);
