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

    /// The attempt as an earlier [`Submissions::begin`] has recorded it, of which nothing was heard, and until when it is
    /// leased: by one of these leases of ours. It is counted now.
    pub async fn begun_unheard(
        &self,
        id: SubmissionId,
        attempt: u32,
        leases: &[Timestamp],
    ) -> Result<Option<(Record, Timestamp)>, JournalError> {
        let Some(record) = self.journal.find(id).await? else { return Ok(None) };
        match record.progress.state {
            State::Sending { attempt: begun, lease_until } if begun == attempt && leases.contains(&lease_until) => {
                self.count_entered(StateName::Sending, &record.submission);
                Ok(Some((record, lease_until)))
            }
            _ => Ok(None),
        }
    }
}
