//! Restore: an operator says that the journal is an earlier state of itself; whatever was open in it may have been sent since.

use super::Submissions;
use crate::journal::{JournalError, Restored};

impl Submissions {
    pub async fn restored(&self, by: &str) -> Result<Restored, JournalError> {
        self.journal.restored(by, self.clock.now()).await
    }
}
