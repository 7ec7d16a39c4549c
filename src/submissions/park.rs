//! Park: a submission that cannot be sent as it is comes in; it waits for an operator.

use super::Submissions;
use crate::{
    domain::{Event, Fault, Progress, SubmissionId},
    journal::JournalError,
};

impl Submissions {
    pub async fn park(&self, id: SubmissionId, fault: Fault) -> Result<Progress, JournalError> {
        self.happened(id, Event::Parked { fault }).await
    }
}
