//! Begin: an attempt that a worker is about to make comes in; it has the submission once the journal says so.

use super::Submissions;
use crate::{
    domain::{Progress, State, StateName, SubmissionId},
    journal::{Entry, JournalError, Record},
};
use jiff::Timestamp;

impl Submissions {
    /// `begun` holds [`crate::domain::Event::Begun`].
    pub async fn begin(&self, id: SubmissionId, begun: Entry) -> Result<Progress, JournalError> {
        self.record(id, vec![begun], None).await
    }

    /// The attempt as an earlier [`Submissions::begin`] has recorded it, of which nothing was heard: by one of these leases
    /// of ours. It is counted now.
    pub async fn begun_unheard(
        &self,
        id: SubmissionId,
        attempt: u32,
        leases: &[Timestamp],
    ) -> Result<Option<Record>, JournalError> {
        let is_ours = |record: &Record| match record.progress.state {
            State::Sending { attempt: begun, lease_until } => begun == attempt && leases.contains(&lease_until),
            _ => false,
        };
        let found = self.journal.find(id).await?.filter(is_ours);
        found.iter().for_each(|record| self.count_entered(StateName::Sending, &record.submission));
        Ok(found)
    }
}
