//! Find: a submission's number comes in, what is known of it goes out.

use super::Submissions;
use crate::{
    domain::{Attempt, Change, IdPart, SubmissionId},
    journal::{JournalError, Record},
};

impl Submissions {
    pub async fn find(&self, id: SubmissionId) -> Result<Option<Record>, JournalError> {
        self.journal.find(id).await
    }

    /// With its timeline.
    pub async fn find_whole(&self, id: SubmissionId) -> Result<Option<(Record, Vec<Change>)>, JournalError> {
        self.journal.find_whole(id).await
    }

    /// Whose number begins or ends like this, newest first, without what may be large.
    pub async fn find_named(&self, part: &IdPart, limit: u32) -> Result<Vec<Record>, JournalError> {
        self.journal.find_named(part, limit).await
    }

    /// Its changes, in the order in which they happened.
    pub async fn timeline(&self, id: SubmissionId) -> Result<Vec<Change>, JournalError> {
        self.journal.timeline(id).await
    }

    pub async fn attempts(&self, id: SubmissionId) -> Result<Vec<Attempt>, JournalError> {
        self.journal.attempts(id).await
    }
}
