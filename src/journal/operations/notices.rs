//! Webhook notices: due ones are claimed, and settled by how their delivery went.

use super::{Access, Operation};
use crate::journal::{
    JournalError, Notice, NoticeOutcome, rows,
    store::{Store, statement, values},
};
use jiff::Timestamp;
use uuid::Uuid;

pub struct ClaimNotices {
    pub limit: u32,
    pub now: Timestamp,
    pub lease_until: Timestamp,
}

impl Operation for ClaimNotices {
    type Output = Vec<Notice>;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<Notice>, JournalError> {
        let sql = format!(
            "WITH picked AS MATERIALIZED (SELECT id FROM notices WHERE due_at <= $1 \
             AND (claimed_until IS NULL OR claimed_until <= $1) ORDER BY due_at, id LIMIT $2{}) \
             UPDATE notices SET claimed_until = $3 WHERE id IN (SELECT id FROM picked) \
             RETURNING id, office, submission, state, happened_at, tries",
            S::LOCKED_IF_FREE
        );
        let claimed = store.query(statement(sql, values![self.now, self.limit, self.lease_until])).await?;
        let mut notices = claimed.into_iter().map(rows::notice).collect::<Result<Vec<_>, _>>()?;
        notices.sort_by_key(|notice| (notice.happened_at, notice.id));
        Ok(notices)
    }
}

pub struct SettleNotice {
    pub id: Uuid,
    pub outcome: NoticeOutcome,
}

impl Operation for SettleNotice {
    type Output = ();
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<(), JournalError> {
        let settle = match &self.outcome {
            NoticeOutcome::Delivered => statement("DELETE FROM notices WHERE id = $1", values![self.id]),
            NoticeOutcome::RetryAt(due_at) => statement(
                "UPDATE notices SET due_at = $2, claimed_until = NULL, tries = tries + 1 WHERE id = $1",
                values![self.id, *due_at],
            ),
            NoticeOutcome::GivenUp => statement(
                "UPDATE notices SET due_at = NULL, claimed_until = NULL, tries = tries + 1 WHERE id = $1",
                values![self.id],
            ),
        };
        store.execute(vec![settle]).await.map(|_| ())
    }
}
