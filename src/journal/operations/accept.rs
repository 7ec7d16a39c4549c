//! A new submission and its key come in; it is recorded, or recognised as a repetition.

use super::{
    Access, GATHERED_BYTES, Operation, Sharing,
    change_rows::{FILL_OUTBOX, add_change},
};
use crate::domain::{Actor, Change, OfficeName, Priority, Progress, StateName, Submission, whole_microseconds};
use crate::journal::{
    Acceptance, IdempotencyKey, JournalError, LastKnown, Standing,
    bulk::{Bulk, ColumnType, RowStatement, Turn},
    rows,
    store::{Store, Value, statement, values},
};
use crate::json::is_small;
use jiff::Timestamp;
use std::sync::LazyLock;

pub struct Accept {
    pub submission: Submission,
    pub key: IdempotencyKey,
    pub notify: bool,
    pub claimed_until: Option<Timestamp>,
}

/// Whose row comes back has the key.
static TAKE_KEY: LazyLock<Bulk> = LazyLock::new(take_key);

/// Without the key, nothing else counts.
static TAKE_FREE_KEY: LazyLock<Bulk> = LazyLock::new(|| take_key().guarding());

fn take_key() -> Bulk {
    let columns = &[
        ("submission", ColumnType::Id),
        ("office", ColumnType::Text),
        ("key", ColumnType::Text),
        ("body_sha256", ColumnType::Bytes),
        ("used_at", ColumnType::Whole),
    ];
    Bulk::insert("idempotency_keys", columns, "ON CONFLICT DO NOTHING RETURNING submission").at(Turn::Key)
}

static ADD_SUBMISSION: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = &[
        ("id", ColumnType::Id),
        ("office", ColumnType::Text),
        ("service", ColumnType::Text),
        ("agency", ColumnType::Text),
        ("effect", ColumnType::Text),
        ("priority", ColumnType::Text),
        ("accepted_at", ColumnType::Whole),
        ("expires_at", ColumnType::Whole),
        ("trace", ColumnType::Text),
        ("notify", ColumnType::Flag),
        ("body", ColumnType::Json),
        ("state", ColumnType::Text),
        ("state_data", ColumnType::Json),
        ("attempts", ColumnType::Whole),
        ("tries", ColumnType::Whole),
        ("in_doubt", ColumnType::Flag),
        ("changed_at", ColumnType::Whole),
    ];
    Bulk::insert("submissions", columns, "").at(Turn::First).telling_version("")
});

static USE_ATTACHMENT: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = &[("attachment", ColumnType::Id), ("submission", ColumnType::Id)];
    Bulk::insert("attachment_uses", columns, "ON CONFLICT DO NOTHING")
});

impl Operation for Accept {
    type Output = Acceptance;
    const ACCESS: Access = Access::Write;

    fn sharing(&self) -> Sharing {
        Sharing::of(self.submission.id, is_small(&self.submission.data, GATHERED_BYTES))
    }

    async fn run<S: Store>(&self, store: &mut S) -> Result<Acceptance, JournalError> {
        let mut rows = self.rows()?;
        // Whoever inserts the key first wins; the others wait for the winner's commit.
        if store.meet_key(&self.submission.office, &self.key.key) {
            rows.push(TAKE_FREE_KEY.row(self.key_row()));
        } else if store.rows_of(vec![TAKE_KEY.row(self.key_row())]).await?.iter().all(Vec::is_empty) {
            return self.earlier(store).await;
        }
        if let Some(version) = store.write(rows).await? {
            store.remember(self.known(version));
        }
        Ok(Acceptance::New)
    }
}

impl Accept {
    async fn earlier<S: Store>(&self, store: &mut S) -> Result<Acceptance, JournalError> {
        let found = earlier(store, &self.submission.office, &self.key).await?;
        found.ok_or_else(|| JournalError::Unavailable("the key was being forgotten at the same moment".into()))
    }

    fn key_row(&self) -> Vec<Value> {
        let Submission { office, id, accepted_at, .. } = &self.submission;
        values![*id, office.as_str(), self.key.key.as_str(), self.key.body_sha256.to_vec(), *accepted_at]
    }

    /// As it will be read.
    fn known(&self, version: String) -> LastKnown {
        let standing = Standing::of(&self.submission, Progress::accepted(), self.notify, version);
        LastKnown { standing, timeline: Some(vec![self.change()]) }
    }

    fn change(&self) -> Change {
        Change {
            at: whole_microseconds(self.submission.accepted_at),
            from: None,
            to: StateName::Accepted,
            cause: "accepted".into(),
            by: Some(Actor::Office(self.submission.office.clone())),
        }
    }

    fn rows(&self) -> Result<Vec<RowStatement>, JournalError> {
        let Submission { id, attachments, .. } = &self.submission;
        let change = add_change(*id, &self.change());
        let mut rows = vec![self.submission_row()?, change, self.outbox_row()];
        rows.extend(attachments.iter().map(|it| USE_ATTACHMENT.row(values![it.id, *id])));
        Ok(rows)
    }

    fn submission_row(&self) -> Result<RowStatement, JournalError> {
        let it = &self.submission;
        let Progress { state, attempts, tries, in_doubt, .. } = Progress::accepted();
        Ok(ADD_SUBMISSION.row(values![
            it.id,
            it.office.as_str(),
            it.service.as_str(),
            it.agency.as_str(),
            it.effect.as_str(),
            it.priority.as_str(),
            it.accepted_at,
            it.expires_at,
            it.trace.to_string(),
            self.notify,
            rows::body_column(it)?,
            state.name().as_str(),
            rows::json_column(&state)?,
            attempts,
            tries,
            in_doubt,
            it.accepted_at,
        ]))
    }

    fn outbox_row(&self) -> RowStatement {
        let Submission { id, agency, office, priority, trace, accepted_at, .. } = &self.submission;
        FILL_OUTBOX.row(values![
            *id,
            agency.as_str(),
            office.as_str(),
            *priority == Priority::Urgent,
            trace.to_string(),
            *accepted_at,
            *accepted_at,
            self.claimed_until,
        ])
    }
}

/// What became of the same key before.
async fn earlier<S: Store>(
    store: &mut S,
    office: &OfficeName,
    key: &IdempotencyKey,
) -> Result<Option<Acceptance>, JournalError> {
    let found = store
        .query(statement(
            "SELECT submission, body_sha256 FROM idempotency_keys WHERE office = $1 AND key = $2",
            values![office.as_str(), key.key.as_str()],
        ))
        .await?;
    let Some(mut row) = found.into_iter().next() else { return Ok(None) };
    let (id, digest) = (row.id()?, row.optional_bytes()?);
    let is_same_body = digest.as_deref() == Some(&key.body_sha256[..]);
    Ok(Some(if is_same_body { Acceptance::Repeated(id) } else { Acceptance::KeyReused(id) }))
}

pub struct FindKey {
    pub office: OfficeName,
    pub key: IdempotencyKey,
}

impl Operation for FindKey {
    type Output = Option<Acceptance>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Option<Acceptance>, JournalError> {
        earlier(store, &self.office, &self.key).await
    }
}
