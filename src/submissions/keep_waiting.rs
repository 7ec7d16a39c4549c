//! Keep waiting: an agency to which nothing is sent for now comes in; what lies in its queue says from then on since when it waits.

use super::Submissions;
use crate::{
    domain::{AgencyName, Fault},
    journal::JournalError,
};
use jiff::Timestamp;
use std::ops::Range;

impl Submissions {
    /// Those that have been `queued` since a time in `of`. How many there were; none of them enters another state.
    pub async fn keep_waiting(
        &self,
        agency: &AgencyName,
        of: Range<Timestamp>,
        since: Timestamp,
        fault: &Fault,
    ) -> Result<u64, JournalError> {
        self.journal.keep_waiting(agency, of, since, fault, self.clock.now()).await
    }
}
