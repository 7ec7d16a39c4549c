//! Reply: what happened to a submission comes in; it is recorded, and everybody who waits for it is told.

use crate::{
    broker::{Announcement, Broker},
    domain::{Progress, StateName, Submission, whole_microseconds},
    journal::{Entry, Journal, JournalError, Record},
    road::Awaited,
};
use jiff::Timestamp;
use std::sync::Arc;

/// Records first, announces afterwards. An announcement may be lost; the record may not.
#[derive(Clone)]
pub struct Reply {
    journal: Arc<dyn Journal>,
    broker: Arc<dyn Broker>,
    /// Who waits at this process's gateway.
    awaited: Arc<Awaited>,
}

impl Reply {
    pub fn new(journal: Arc<dyn Journal>, broker: Arc<dyn Broker>, awaited: Arc<Awaited>) -> Self {
        Self { journal, broker, awaited }
    }

    pub async fn record(&self, submission: &Submission, entry: Entry) -> Result<Progress, JournalError> {
        let at = entry.at;
        let progress = self.journal.record(submission.id, entry).await?;
        self.announce(submission, progress.state.name(), at).await;
        Ok(progress)
    }

    /// The same for the last entries of an attempt, for whose end somebody may wait here.
    pub async fn end(&self, record: &Record, entries: Vec<Entry>) -> Result<(), JournalError> {
        let submission = &record.submission;
        let Some(at) = entries.last().map(|entry| entry.at) else { return Ok(()) };
        let (progress, timeline) = if self.awaited.is_awaited(submission.id) {
            let (progress, timeline) = self.journal.record_whole(submission.id, entries).await?;
            (progress, Some(timeline))
        } else {
            (self.journal.record_all(submission.id, entries).await?, None)
        };
        let state = progress.state.name();
        if let Some(timeline) = timeline.filter(|_| state.is_settled()) {
            let changed_at = whole_microseconds(at);
            self.awaited
                .put(Record { submission: submission.clone(), progress, changed_at, erased_at: None }, timeline);
        }
        self.announce(submission, state, at).await;
        Ok(())
    }

    async fn announce(&self, submission: &Submission, state: StateName, at: Timestamp) {
        let announcement = Announcement {
            submission: submission.id,
            office: submission.office.clone(),
            agency: submission.agency.clone(),
            service: submission.service.clone(),
            state,
            at,
            trace: submission.trace,
        };
        if let Err(error) = self.broker.announce(&announcement).await {
            tracing::debug!(submission = %submission.id, %error, "not announced; who waits reads the journal");
        }
    }
}
