//! Accept: an office's new submission comes in; once it is in the journal, its number may be told.

use super::Submissions;
use crate::{
    domain::{OfficeName, Submission},
    journal::{Acceptance, IdempotencyKey, JournalError},
};
use jiff::Timestamp;

impl Submissions {
    /// `notify`: the office wants webhook notices. `claimed_until`: the caller publishes it itself, so the relay leaves it
    /// alone until then.
    pub async fn accept(
        &self,
        submission: &Submission,
        key: &IdempotencyKey,
        notify: bool,
        claimed_until: Option<Timestamp>,
    ) -> Result<Acceptance, JournalError> {
        let acceptance = self.journal.accept(submission, key, notify, claimed_until).await?;
        if acceptance == Acceptance::New {
            self.is_new(submission);
        }
        Ok(acceptance)
    }

    /// What [`Submissions::accept`] would say of a key that came before; `None` if it did not.
    pub async fn accepted_before(
        &self,
        office: &OfficeName,
        key: &IdempotencyKey,
    ) -> Result<Option<Acceptance>, JournalError> {
        self.journal.find_key(office, key).await
    }
}
