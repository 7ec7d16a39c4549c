-- Times are whole microseconds since 1970-01-01 UTC; identifiers are UUIDs as text; flags are 0 or 1.

CREATE TABLE submissions (
    id          TEXT    NOT NULL PRIMARY KEY,
    office      TEXT    NOT NULL,
    service     TEXT    NOT NULL,
    agency      TEXT    NOT NULL,
    effect      TEXT    NOT NULL,
    priority    TEXT    NOT NULL,
    accepted_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    trace       TEXT    NOT NULL,
    notify      INTEGER NOT NULL,
    body        TEXT,             -- JSON: context, subject, data, attachments; NULL once erased
    state       TEXT    NOT NULL,
    state_data  TEXT    NOT NULL, -- JSON: the state with its data
    attempts    INTEGER NOT NULL,
    tries       INTEGER NOT NULL,
    in_doubt    INTEGER NOT NULL,
    due_at      INTEGER,          -- of `sending` and `retrying`
    changed_at  INTEGER NOT NULL,
    erased_at   INTEGER
) STRICT;
CREATE INDEX submissions_newest ON submissions (accepted_at, id);
CREATE INDEX submissions_of_office ON submissions (office, accepted_at, id);
CREATE INDEX submissions_of_agency ON submissions (agency, state, changed_at);
CREATE INDEX submissions_due ON submissions (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX submissions_open ON submissions (expires_at)
    WHERE state IN ('accepted', 'queued', 'retrying', 'waiting');
CREATE INDEX submissions_for_operators ON submissions (state, accepted_at, id)
    WHERE state IN ('parked', 'uncertain');
CREATE INDEX submissions_to_erase ON submissions (changed_at)
    WHERE erased_at IS NULL AND state IN ('completed', 'refused', 'expired', 'cancelled');

CREATE TABLE changes (
    id         INTEGER PRIMARY KEY,
    submission TEXT    NOT NULL REFERENCES submissions (id),
    at         INTEGER NOT NULL,
    from_state TEXT,
    to_state   TEXT    NOT NULL,
    cause      TEXT    NOT NULL
) STRICT;
CREATE INDEX changes_of_submission ON changes (submission, id);

CREATE TABLE attempts (
    submission  TEXT    NOT NULL REFERENCES submissions (id),
    number      INTEGER NOT NULL,
    begun_at    INTEGER NOT NULL,
    ended_at    INTEGER,
    outcome     TEXT,             -- JSON
    sent        BLOB,
    received    BLOB,
    http_status INTEGER,
    truncated   INTEGER NOT NULL DEFAULT 0,
    erased_at   INTEGER,
    PRIMARY KEY (submission, number)
) STRICT;
CREATE INDEX attempts_with_wire ON attempts (ended_at) WHERE sent IS NOT NULL;

CREATE TABLE outbox (
    submission    TEXT    NOT NULL PRIMARY KEY REFERENCES submissions (id),
    agency        TEXT    NOT NULL,
    urgent        INTEGER NOT NULL,
    trace         TEXT    NOT NULL,
    added_at      INTEGER NOT NULL,
    not_before    INTEGER NOT NULL,
    claimed_until INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_in_order ON outbox (urgent DESC, added_at, submission);

CREATE TABLE idempotency_keys (
    office      TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    body_sha256 BLOB    NOT NULL,
    submission  TEXT    NOT NULL,
    used_at     INTEGER NOT NULL,
    PRIMARY KEY (office, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (used_at);

CREATE TABLE attachments (
    id          TEXT    NOT NULL PRIMARY KEY,
    office      TEXT    NOT NULL,
    sha256      TEXT    NOT NULL,
    size_bytes  INTEGER NOT NULL,
    media_type  TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    uploaded_at INTEGER NOT NULL
) STRICT;
CREATE INDEX attachments_by_age ON attachments (uploaded_at);
CREATE INDEX attachments_by_office ON attachments (office);

CREATE TABLE attachment_uses (
    attachment TEXT NOT NULL,
    submission TEXT NOT NULL REFERENCES submissions (id),
    PRIMARY KEY (attachment, submission)
) STRICT, WITHOUT ROWID;
CREATE INDEX attachment_uses_of_submission ON attachment_uses (submission);

CREATE TABLE notices (
    id            TEXT    NOT NULL PRIMARY KEY,
    office        TEXT    NOT NULL,
    submission    TEXT    NOT NULL REFERENCES submissions (id),
    state         TEXT    NOT NULL,
    happened_at   INTEGER NOT NULL,
    due_at        INTEGER,          -- NULL: given up
    claimed_until INTEGER,
    tries         INTEGER NOT NULL
) STRICT;
CREATE INDEX notices_due ON notices (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notices_of_submission ON notices (submission);
