//! Take over: a journal that belongs to this process alone comes in; what the process before it was sending has a lease that
//! ends now.

use super::Submissions;
use crate::journal::JournalError;

impl Submissions {
    /// No other worker lives. How many submissions were being sent.
    pub async fn void_leases(&self) -> Result<u64, JournalError> {
        let moved = self.journal.void_leases(self.clock.now()).await?;
        self.have_moved(&moved);
        Ok(moved.len() as u64)
    }
}
