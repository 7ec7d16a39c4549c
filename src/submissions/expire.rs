//! Expire: a submission whose deadline has passed comes in; it has ended, or waits for an operator if the agency may have
//! acted on it.

use super::Submissions;
use crate::{
    domain::{Event, Progress, SubmissionId},
    journal::JournalError,
};

impl Submissions {
    pub async fn expire(&self, id: SubmissionId) -> Result<Progress, JournalError> {
        self.happened(id, Event::DeadlinePassed).await
    }
}
