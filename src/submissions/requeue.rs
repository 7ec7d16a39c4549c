//! Requeue: a submission whose retry is due, or whose message the broker has lost, comes in; it is in the outbox again.

use super::Submissions;
use crate::{
    domain::{AgencyName, Event, Progress, SubmissionId},
    journal::{JournalError, Moved},
};
use jiff::Timestamp;

impl Submissions {
    /// The time of its retry has come.
    pub async fn requeue(&self, id: SubmissionId) -> Result<Progress, JournalError> {
        self.happened(id, Event::Requeued).await
    }

    /// The broker has lost them: `queued` since before a time, oldest first. How many there were.
    pub async fn requeue_lost(
        &self,
        agency: &AgencyName,
        before: Timestamp,
        at_most: u64,
    ) -> Result<u64, JournalError> {
        let now = self.clock.now();
        let limit = |left: u64| u32::try_from(left).unwrap_or(u32::MAX);
        self.in_pieces(at_most, |left| self.journal.requeue(agency, before, now, limit(left))).await
    }

    /// The clock has been set back: what waits for a time of before it need not wait so long. How many there were.
    pub async fn requeue_ahead(&self, agency: &AgencyName, after: Timestamp) -> Result<u64, JournalError> {
        let now = self.clock.now();
        self.in_pieces(u64::MAX, |_| self.journal.requeue_ahead(agency, after, now)).await
    }

    /// Until there are no more, or so many. Each piece is a transaction, and counted before the next one is in memory.
    async fn in_pieces<F>(&self, at_most: u64, piece: impl Fn(u64) -> F) -> Result<u64, JournalError>
    where
        F: Future<Output = Result<Vec<Moved>, JournalError>>,
    {
        let mut total = 0;
        while total < at_most {
            let moved = piece(at_most - total).await?;
            if moved.is_empty() {
                break;
            }
            self.have_moved(&moved);
            total += moved.len() as u64;
        }
        Ok(total)
    }
}
