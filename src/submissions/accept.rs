//! Accept: an office's new submission comes in; once it is in the journal, its number may be told.

use super::Submissions;
use crate::{
    domain::{OfficeName, StateName, Submission},
    journal::{Acceptance, IdempotencyKey, JournalError},
};
use jiff::Timestamp;

/// Who publishes what was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishBy {
    /// Whoever accepts it: the relay leaves it alone until then.
    Caller { until: Timestamp },
    /// The relay of this process, which is woken.
    Relay,
    /// The relay, when it is the office's turn, which it looks for by itself.
    RelayInTurn,
}

impl Submissions {
    /// `notify`: the office wants webhook notices.
    pub async fn accept(
        &self,
        submission: &Submission,
        key: &IdempotencyKey,
        notify: bool,
        publish_by: PublishBy,
    ) -> Result<Acceptance, JournalError> {
        let claimed_until = match publish_by {
            PublishBy::Caller { until } => Some(until),
            PublishBy::Relay | PublishBy::RelayInTurn => None,
        };
        let acceptance = self.journal.accept(submission, key, notify, claimed_until).await?;
        if acceptance == Acceptance::New {
            self.count_entered(StateName::Accepted, submission);
            if publish_by == PublishBy::Relay {
                self.wake_relay();
            }
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
