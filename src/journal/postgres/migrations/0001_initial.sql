-- Times are whole microseconds since 1970-01-01 UTC. JSON is `json`, not `jsonb`: the order of keys and the digits of
-- numbers stay as the office and the agency wrote them.

CREATE TABLE submissions (
    id          uuid    NOT NULL PRIMARY KEY,
    office      text    NOT NULL,
    service     text    NOT NULL,
    agency      text    NOT NULL,
    effect      text    NOT NULL,
    priority    text    NOT NULL,
    accepted_at bigint  NOT NULL,
    expires_at  bigint  NOT NULL,
    trace       text    NOT NULL,
    notify      boolean NOT NULL,
    body        json,             -- JSON: context, subject, data, attachments; NULL once erased
    state       text    NOT NULL,
    state_data  json    NOT NULL, -- JSON: the state with its data
    attempts    bigint  NOT NULL,
    tries       bigint  NOT NULL,
    in_doubt    boolean NOT NULL,
    due_at      bigint,          -- of `sending` and `retrying`
    changed_at  bigint  NOT NULL,
    erased_at   bigint
);
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
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    submission uuid    NOT NULL REFERENCES submissions (id),
    at         bigint  NOT NULL,
    from_state text,
    to_state   text    NOT NULL,
    cause      text    NOT NULL
);
CREATE INDEX changes_of_submission ON changes (submission, id);

CREATE TABLE attempts (
    submission  uuid    NOT NULL REFERENCES submissions (id),
    number      bigint  NOT NULL,
    begun_at    bigint  NOT NULL,
    ended_at    bigint,
    outcome     json,             -- JSON
    sent        bytea,
    received    bytea,
    http_status bigint,
    truncated   boolean NOT NULL DEFAULT false,
    erased_at   bigint,
    PRIMARY KEY (submission, number)
);
CREATE INDEX attempts_with_wire ON attempts (ended_at) WHERE sent IS NOT NULL;

CREATE TABLE outbox (
    submission    uuid    NOT NULL PRIMARY KEY REFERENCES submissions (id),
    agency        text    NOT NULL,
    urgent        boolean NOT NULL,
    trace         text    NOT NULL,
    added_at      bigint  NOT NULL,
    not_before    bigint  NOT NULL,
    claimed_until bigint
);
CREATE INDEX outbox_in_order ON outbox (urgent DESC, added_at, submission);

CREATE TABLE idempotency_keys (
    office      text    NOT NULL,
    key         text    NOT NULL,
    body_sha256 bytea    NOT NULL,
    submission  uuid    NOT NULL,
    used_at     bigint  NOT NULL,
    PRIMARY KEY (office, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (used_at);

CREATE TABLE attachments (
    id          uuid    NOT NULL PRIMARY KEY,
    office      text    NOT NULL,
    sha256      text    NOT NULL,
    size_bytes  bigint  NOT NULL,
    media_type  text    NOT NULL,
    name        text    NOT NULL,
    uploaded_at bigint  NOT NULL
);
CREATE INDEX attachments_by_age ON attachments (uploaded_at);
CREATE INDEX attachments_by_office ON attachments (office);

CREATE TABLE attachment_uses (
    attachment uuid NOT NULL,
    submission uuid NOT NULL REFERENCES submissions (id),
    PRIMARY KEY (attachment, submission)
);
CREATE INDEX attachment_uses_of_submission ON attachment_uses (submission);

CREATE TABLE notices (
    id            uuid    NOT NULL PRIMARY KEY,
    office        text    NOT NULL,
    submission    uuid    NOT NULL REFERENCES submissions (id),
    state         text    NOT NULL,
    happened_at   bigint  NOT NULL,
    due_at        bigint,          -- NULL: given up
    claimed_until bigint,
    tries         bigint  NOT NULL
);
CREATE INDEX notices_due ON notices (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notices_of_submission ON notices (submission);
