//! Give back: a submission that a worker has in hand and does not begin comes in; it is in the outbox again.

use super::Submissions;
use crate::{
    domain::{Event, Progress, SubmissionId},
    journal::{Entry, JournalError},
};
use jiff::Timestamp;

impl Submissions {
    /// `not_before`: when it is to be published again; at once if it is not said.
    pub async fn give_back(&self, id: SubmissionId, not_before: Option<Timestamp>) -> Result<Progress, JournalError> {
        let entry = Entry { not_before, ..Entry::new(Event::GivenBack, self.clock.now()) };
        self.record(id, vec![entry], None).await
    }
}
