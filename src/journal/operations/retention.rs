//! Erasing and forgetting: what is older than a time comes in, how much was erased goes out.

use super::{Access, CHUNK_ROWS, Operation};
use crate::domain::{State, SubmissionId};
use crate::journal::{
    JournalError, rows,
    store::{Row, Statement, Store, statement, values},
};
use jiff::Timestamp;

/// At most [`CHUNK_ROWS`]; how many there were.
pub struct EraseWire {
    pub ended_before: Timestamp,
    pub now: Timestamp,
}

impl Operation for EraseWire {
    type Output = u64;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<u64, JournalError> {
        let erase = statement(
            "UPDATE attempts SET sent = NULL, received = NULL, erased_at = $2 WHERE (submission, number) IN \
             (SELECT submission, number FROM attempts WHERE sent IS NOT NULL AND ended_at < $1 \
             ORDER BY ended_at LIMIT $3)",
            values![self.ended_before, self.now, CHUNK_ROWS],
        );
        store.execute(vec![erase]).await
    }
}

pub struct EraseWireOf {
    pub id: SubmissionId,
    pub now: Timestamp,
}

impl Operation for EraseWireOf {
    type Output = u64;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<u64, JournalError> {
        let erase = statement(
            "UPDATE attempts SET sent = NULL, received = NULL, erased_at = $2 WHERE submission = $1 AND sent IS NOT NULL",
            values![self.id, self.now],
        );
        store.execute(vec![erase]).await
    }
}

/// Whose content is erased.
#[derive(Clone, Copy)]
pub enum Erased {
    Ended,
    Parked,
}

impl Erased {
    /// In the words of the partial index, or the databases would not use it.
    fn states(self) -> &'static str {
        match self {
            Erased::Ended => "(state = 'completed' OR state = 'refused' OR state = 'expired' OR state = 'cancelled')",
            Erased::Parked => "state IN ('parked', 'uncertain')",
        }
    }
}

/// At most [`CHUNK_ROWS`]; how many there were.
pub struct EraseContent {
    pub what: Erased,
    /// Since when it has been in its state.
    pub before: Timestamp,
    pub now: Timestamp,
}

impl Operation for EraseContent {
    type Output = u64;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<u64, JournalError> {
        let sql = format!(
            "SELECT id, {} FROM submissions WHERE erased_at IS NULL \
             AND {} AND changed_at < $1 ORDER BY changed_at LIMIT $2{}",
            rows::PROGRESS,
            self.what.states(),
            S::LOCKED
        );
        let found = store.query(statement(sql, values![self.before, CHUNK_ROWS])).await?;
        let count = found.len() as u64;
        let mut statements = Vec::new();
        for row in found {
            statements.extend(self.erase(row)?);
        }
        store.execute(statements).await?;
        Ok(count)
    }
}

impl EraseContent {
    fn erase(&self, mut row: Row) -> Result<[Statement; 4], JournalError> {
        let id: SubmissionId = row.id()?;
        let state: State = rows::erased(rows::progress(&mut row)?.state);
        Ok([
            statement(
                "UPDATE submissions SET body = NULL, state_data = $2, erased_at = $3 WHERE id = $1",
                values![id, rows::json_column(&state)?, self.now],
            ),
            // All attempts, so that no late word brings bytes back.
            statement(
                "UPDATE attempts SET sent = NULL, received = NULL, erased_at = $2 WHERE submission = $1",
                values![id, self.now],
            ),
            statement("DELETE FROM attachment_uses WHERE submission = $1", values![id]),
            statement("DELETE FROM notices WHERE submission = $1 AND due_at IS NULL", values![id]),
        ])
    }
}

/// At most [`CHUNK_ROWS`]; how many there were.
pub struct ForgetKeys {
    pub used_before: Timestamp,
}

impl Operation for ForgetKeys {
    type Output = u64;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<u64, JournalError> {
        let sql = "DELETE FROM idempotency_keys WHERE (office, key) IN \
                   (SELECT office, key FROM idempotency_keys WHERE used_at < $1 ORDER BY used_at LIMIT $2)";
        store.execute(vec![statement(sql, values![self.used_before, CHUNK_ROWS])]).await
    }
}
