//! Count: how many submissions there are, by agency and state, and since when the oldest waits.

use super::Submissions;
use crate::{
    domain::AgencyName,
    journal::{JournalError, StateCount},
};
use jiff::Timestamp;

impl Submissions {
    /// By agency and state, of what is not over.
    pub async fn counts(&self) -> Result<Vec<StateCount>, JournalError> {
        self.journal.counts().await
    }

    /// How many of an agency's have been `queued` since before a time.
    pub async fn queued_since(&self, agency: &AgencyName, before: Timestamp) -> Result<u64, JournalError> {
        self.journal.queued_since(agency, before).await
    }

    /// Since when the oldest of an agency's has been `queued`.
    pub async fn oldest_queued(&self, agency: &AgencyName) -> Result<Option<Timestamp>, JournalError> {
        self.journal.oldest_queued(agency).await
    }
}
