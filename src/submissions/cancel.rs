//! Cancel: an office takes a submission back, as long as nothing of it can have reached the agency.

use super::Submissions;
use crate::{
    domain::{Event, OfficeName, Progress, SubmissionId},
    journal::JournalError,
};

impl Submissions {
    pub async fn cancel(&self, id: SubmissionId, office: &OfficeName) -> Result<Progress, JournalError> {
        self.happened(id, Event::CancelledByOffice { by: office.clone() }).await
    }
}
