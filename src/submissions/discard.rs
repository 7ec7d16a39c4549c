//! Discard: an operator ends a submission that waits for a decision.

use super::Submissions;
use crate::{
    domain::{Event, Progress, SubmissionId},
    journal::JournalError,
};

impl Submissions {
    pub async fn discard(&self, id: SubmissionId, by: &str) -> Result<Progress, JournalError> {
        self.happened(id, Event::Discarded { by: by.to_owned() }).await
    }
}
