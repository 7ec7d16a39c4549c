//! Hold back: a submission whose agency is away comes in; it waits in the journal until the agency is there again, or until
//! its own time comes.

use super::Submissions;
use crate::{
    domain::{Event, Fault, Progress, SubmissionId},
    journal::JournalError,
};
use jiff::Timestamp;

impl Submissions {
    pub async fn hold_back(
        &self,
        id: SubmissionId,
        due_at: Timestamp,
        since: Timestamp,
        fault: Fault,
    ) -> Result<Progress, JournalError> {
        self.happened(id, Event::HeldBack { due_at, since, fault }).await
    }
}
