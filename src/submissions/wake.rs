//! Wake: an agency that is there again comes in; some of what waits for it is in the outbox again.

use super::Submissions;
use crate::{
    domain::{AgencyName, OfficeName},
    journal::JournalError,
};
use jiff::Timestamp;
use std::collections::BTreeMap;

impl Submissions {
    /// As [`crate::journal::Journal::wake`]. Whose they were.
    pub async fn wake(
        &self,
        agency: &AgencyName,
        before: Timestamp,
        limit: u32,
        failures: &BTreeMap<OfficeName, usize>,
    ) -> Result<Vec<OfficeName>, JournalError> {
        let moved = self.journal.wake(agency, before, self.clock.now(), limit, failures).await?;
        self.have_moved(&moved);
        Ok(moved.into_iter().map(|moved| moved.office).collect())
    }
}
