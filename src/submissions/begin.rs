//! Begin: an attempt that a worker is about to make comes in; it has the submission once the journal says so.

use super::Submissions;
use crate::{
    domain::{Progress, SubmissionId},
    journal::{Entry, JournalError},
};

impl Submissions {
    /// `begun` holds [`crate::domain::Event::Begun`].
    pub async fn begin(&self, id: SubmissionId, begun: Entry) -> Result<Progress, JournalError> {
        self.record(id, vec![begun], None).await
    }
}
