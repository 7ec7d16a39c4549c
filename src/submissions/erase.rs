//! Erase: what has been kept long enough loses its content; the timeline stays.

use super::Submissions;
use crate::{domain::SubmissionId, journal::JournalError};
use jiff::Timestamp;

impl Submissions {
    /// The bytes sent and received in attempts that ended before a time. How many attempts lost theirs.
    pub async fn erase_wire(&self, ended_before: Timestamp) -> Result<u64, JournalError> {
        self.journal.erase_wire(ended_before, self.clock.now()).await
    }

    /// The bytes sent and received for one submission. How many attempts lost theirs.
    pub async fn erase_wire_of(&self, id: SubmissionId) -> Result<u64, JournalError> {
        self.journal.erase_wire_of(id, self.clock.now()).await
    }

    /// Call context, subject, data and answer of submissions that ended before a time. How many there were.
    pub async fn erase_content(&self, ended_before: Timestamp) -> Result<u64, JournalError> {
        self.journal.erase_content(ended_before, self.clock.now()).await
    }

    /// The same of what has waited for an operator since before a time: it can only be discarded from then on.
    pub async fn erase_parked(&self, waiting_since_before: Timestamp) -> Result<u64, JournalError> {
        self.journal.erase_parked(waiting_since_before, self.clock.now()).await
    }

    /// Which submission an office's key stood for, of keys first used before a time.
    pub async fn forget_keys(&self, used_before: Timestamp) -> Result<u64, JournalError> {
        self.journal.forget_keys(used_before).await
    }
}
