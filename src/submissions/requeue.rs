//! Requeue: a submission whose retry is due, or whose message the broker has lost, comes in; it is in the outbox again.

use super::Submissions;
use crate::{
    domain::{AgencyName, Event, Progress, SubmissionId},
    journal::JournalError,
};
use jiff::Timestamp;

/// How many are changed before the next are asked for: what has changed is held in memory until it is counted.
const AT_ONCE: u64 = 1024;

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
        let (now, mut total) = (self.clock.now(), 0);
        while total < at_most {
            let limit = (at_most - total).min(AT_ONCE);
            let moved = self.journal.requeue(agency, before, now, limit).await?;
            self.have_moved(&moved);
            total += moved.len() as u64;
            if (moved.len() as u64) < limit {
                break;
            }
        }
        Ok(total)
    }

    /// The clock has been set back: what waits for a time of before it need not wait so long. How many there were.
    pub async fn requeue_ahead(&self, agency: &AgencyName, after: Timestamp) -> Result<u64, JournalError> {
        let moved = self.journal.requeue_ahead(agency, after, self.clock.now()).await?;
        self.have_moved(&moved);
        Ok(moved.len() as u64)
    }
}
