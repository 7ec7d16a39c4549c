//! Reply: what happened to a submission comes in; it is recorded, and everybody who waits for it is told.

use crate::{
    broker::{Announcement, Broker},
    domain::{Progress, Submission},
    journal::{Entry, Journal, JournalError},
};
use std::sync::Arc;

/// Records first, announces afterwards. An announcement may be lost; the record may not.
#[derive(Clone)]
pub struct Reply {
    journal: Arc<dyn Journal>,
    broker: Arc<dyn Broker>,
}

impl Reply {
    pub fn new(journal: Arc<dyn Journal>, broker: Arc<dyn Broker>) -> Self {
        Self { journal, broker }
    }

    pub async fn record(&self, submission: &Submission, entry: Entry) -> Result<Progress, JournalError> {
        let at = entry.at;
        let progress = self.journal.record(submission.id, entry).await?;
        let announcement = Announcement {
            submission: submission.id,
            office: submission.office.clone(),
            agency: submission.agency.clone(),
            service: submission.service.clone(),
            state: progress.state.name(),
            at,
            trace: submission.trace,
        };
        if let Err(error) = self.broker.announce(&announcement).await {
            tracing::debug!(submission = %submission.id, %error, "not announced; who waits reads the journal");
        }
        Ok(progress)
    }
}
