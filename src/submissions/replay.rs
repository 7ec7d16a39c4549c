//! Replay: an operator has a submission that waits for a decision done again.

use super::Submissions;
use crate::{
    domain::{Event, Progress, SubmissionId},
    journal::JournalError,
};

impl Submissions {
    /// `accepts_repeat`: the number of the last attempt that the operator has seen, if what it may have done may be done
    /// twice. Should another replay have been quicker, the journal refuses this one.
    pub async fn replay(
        &self,
        id: SubmissionId,
        by: &str,
        accepts_repeat: Option<u32>,
    ) -> Result<Progress, JournalError> {
        self.happened(id, Event::Replayed { by: by.to_owned(), accepts_repeat }).await
    }
}
