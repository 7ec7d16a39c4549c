//! Publish: the outbox's rows go out to be published; what the broker has confirmed or refused comes back.

use super::Submissions;
use crate::{
    domain::{AgencyName, SubmissionId},
    journal::{JournalError, OutboxItem, Windows},
};
use jiff::Timestamp;

impl Submissions {
    /// As [`crate::journal::Journal::claim_outbox`].
    pub async fn claim_outbox(
        &self,
        limit: u32,
        lease_until: Timestamp,
        except: &[AgencyName],
        windows: &Windows,
    ) -> Result<Vec<OutboxItem>, JournalError> {
        self.journal.claim_outbox(limit, self.clock.now(), lease_until, except, windows).await
    }

    /// The broker has confirmed these.
    pub async fn published(&self, ids: &[SubmissionId]) -> Result<(), JournalError> {
        let moved = self.journal.published(ids, self.clock.now()).await?;
        self.have_moved(&moved);
        Ok(())
    }

    /// The broker has not taken these: they are nobody's again at once.
    pub async fn unpublished(&self, ids: &[SubmissionId]) -> Result<(), JournalError> {
        self.journal.unclaim_outbox(ids).await
    }
}
