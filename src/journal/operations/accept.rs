//! A new submission and its key come in; it is recorded, or recognised as a repetition.

use super::{Access, Operation};
use crate::domain::{Actor, AttachmentRef, OfficeName, Priority, Progress, Submission};
use crate::journal::{
    Acceptance, IdempotencyKey, JournalError, rows,
    store::{Statement, Store, Value, statement, values},
};
use jiff::Timestamp;

pub struct Accept {
    pub submission: Submission,
    pub key: IdempotencyKey,
    pub notify: bool,
    pub claimed_until: Option<Timestamp>,
}

impl Operation for Accept {
    type Output = Acceptance;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Acceptance, JournalError> {
        // Whoever inserts the key first wins; the others wait here for the winner's commit.
        if store.execute(vec![self.insert_key()]).await? == 0 {
            return self.earlier(store).await;
        }
        let mut statements = vec![self.insert_submission()?, self.insert_change(), self.insert_outbox()];
        statements.extend(self.submission.attachments.iter().map(|it| self.insert_use(it)));
        store.execute(statements).await?;
        Ok(Acceptance::New)
    }
}

impl Accept {
    async fn earlier<S: Store>(&self, store: &mut S) -> Result<Acceptance, JournalError> {
        let found = earlier(store, &self.submission.office, &self.key).await?;
        found.ok_or_else(|| JournalError::Unavailable("the key was being forgotten at the same moment".into()))
    }

    fn insert_key(&self) -> Statement {
        let Submission { office, id, accepted_at, .. } = &self.submission;
        let digest = self.key.body_sha256.to_vec();
        statement(
            "INSERT INTO idempotency_keys (office, key, body_sha256, submission, used_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT DO NOTHING",
            values![office.as_str(), self.key.key.as_str(), digest, *id, *accepted_at],
        )
    }

    fn insert_submission(&self) -> Result<Statement, JournalError> {
        let it = &self.submission;
        let Progress { state, attempts, tries, in_doubt, .. } = Progress::accepted();
        Ok(statement(
            "INSERT INTO submissions (id, office, service, agency, effect, priority, accepted_at, expires_at, trace, \
             notify, body, state, state_data, attempts, tries, in_doubt, changed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
            values![
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
            ],
        ))
    }

    fn insert_change(&self) -> Statement {
        let accepted = Progress::accepted().state.name().as_str();
        statement(
            "INSERT INTO changes (submission, at, from_state, to_state, cause, actor) VALUES ($1, $2, $3, $4, $5, $6)",
            values![
                self.submission.id,
                self.submission.accepted_at,
                Value::Null,
                accepted,
                "accepted",
                Actor::Office(self.submission.office.clone()).to_string(),
            ],
        )
    }

    fn insert_outbox(&self) -> Statement {
        let Submission { id, agency, office, priority, trace, accepted_at, .. } = &self.submission;
        let urgent = *priority == Priority::Urgent;
        statement(
            "INSERT INTO outbox (submission, agency, office, urgent, trace, added_at, not_before, claimed_until) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            values![
                *id,
                agency.as_str(),
                office.as_str(),
                urgent,
                trace.to_string(),
                *accepted_at,
                *accepted_at,
                self.claimed_until
            ],
        )
    }

    fn insert_use(&self, attachment: &AttachmentRef) -> Statement {
        statement(
            "INSERT INTO attachment_uses (attachment, submission) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            values![attachment.id, self.submission.id],
        )
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
