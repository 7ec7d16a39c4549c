//! Reply: what happened to a submission comes in; it is recorded, and everybody who waits for it is told.

use crate::{
    broker::{Announcement, Broker},
    delivery::LocalWaiters,
    domain::{Change, Progress, StateName, Submission, whole_microseconds},
    journal::{Entry, Journal, JournalError, Record},
};
use jiff::Timestamp;
use std::sync::Arc;

/// Records first, announces afterwards. An announcement may be lost; the record may not.
#[derive(Clone)]
pub struct Reply {
    journal: Arc<dyn Journal>,
    broker: Arc<dyn Broker>,
    /// Who waits at this process's gateway.
    waiters: Arc<LocalWaiters>,
}

/// What the journal has of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Just this end.
    Ended,
    /// Another end: its lease ran out, say.
    EndedBefore,
    /// No end, though the submission has moved on.
    Open,
    /// Nothing, not even its beginning.
    Lost,
}

impl Reply {
    pub fn new(journal: Arc<dyn Journal>, broker: Arc<dyn Broker>, waiters: Arc<LocalWaiters>) -> Self {
        Self { journal, broker, waiters }
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
        let changed_at = whole_microseconds(at);
        let state = if self.waiters.is_awaited(submission.id) {
            let (progress, timeline) = self.journal.record_whole(submission.id, entries).await?;
            let state = progress.state.name();
            self.hand_over(Record { submission: submission.clone(), progress, changed_at, erased_at: None }, timeline);
            state
        } else {
            self.journal.record_all(submission.id, entries).await?.state.name()
        };
        self.announce(submission, state, changed_at).await;
        Ok(())
    }

    /// What the journal has of an attempt whose end it did not take. An end that it has, though it was not heard to say so,
    /// is announced now.
    pub async fn fate(
        &self,
        submission: &Submission,
        attempt: u32,
        begun_at: Timestamp,
        ended_at: Timestamp,
    ) -> Result<Fate, JournalError> {
        let attempts = self.journal.attempts(submission.id).await?;
        let [begun_at, ended_at] = [begun_at, ended_at].map(whole_microseconds);
        match attempts.iter().find(|it| it.number == attempt && it.begun_at == begun_at).map(|it| it.ended_at) {
            None => return Ok(Fate::Lost),
            Some(None) => return Ok(Fate::Open),
            Some(Some(at)) if at != ended_at => return Ok(Fate::EndedBefore),
            Some(Some(_)) => {}
        }
        if let Some((record, timeline)) = self.journal.find_whole(submission.id).await? {
            let (state, changed_at) = (record.progress.state.name(), record.changed_at);
            self.hand_over(record, timeline);
            self.announce(submission, state, changed_at).await;
        }
        Ok(Fate::Ended)
    }

    /// To whom waits for it here.
    fn hand_over(&self, record: Record, timeline: Vec<Change>) {
        if record.progress.state.name().is_settled() {
            self.waiters.put(record, timeline);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        broker::embedded::{EmbeddedBroker, EmbeddedSettings},
        delivery::accepted_cache::tests::submission,
        domain::{Answer, Event},
        journal::{IdempotencyKey, sqlite::SqliteJournal},
    };

    #[tokio::test]
    async fn an_end_that_the_journal_was_not_heard_to_have_is_announced_all_the_same() {
        let home = tempfile::tempdir().unwrap();
        let journal = Arc::new(SqliteJournal::open(&home.path().join("journal.db")).unwrap());
        let broker = Arc::new(EmbeddedBroker::start(EmbeddedSettings::default()));
        let waiters = Arc::<LocalWaiters>::default();
        let reply = Reply::new(journal.clone(), broker.clone(), waiters.clone());
        let (at, submission) = (Timestamp::UNIX_EPOCH, submission());
        let ended_at = at + jiff::SignedDuration::from_secs(2);
        let expires_at = at + jiff::SignedDuration::from_hours(1);
        let submission = Submission { expires_at, ..submission };
        journal
            .accept(&submission, &IdempotencyKey { key: "k".into(), body_sha256: [7; 32] }, false, None)
            .await
            .unwrap();
        let begun = Event::Begun { attempt: 1, lease_until: ended_at, asks_first: false };
        journal.record(submission.id, Entry::new(begun, at)).await.unwrap();
        let (waiting, mut announced) = (waiters.wait(submission.id), broker.announcements());
        assert_eq!(reply.fate(&submission, 1, at, ended_at).await.unwrap(), Fate::Open);
        assert_eq!(
            reply.fate(&submission, 1, ended_at, ended_at).await.unwrap(),
            Fate::Lost,
            "another's of that number"
        );
        assert_eq!(reply.fate(&submission, 2, at, ended_at).await.unwrap(), Fate::Lost);
        let end = Entry::new(Event::Answered { attempt: 1, answer: Answer(serde_json::json!({})) }, ended_at);
        // It is recorded, and this word is lost on its way to the worker, which says it again.
        journal.record(submission.id, end.clone()).await.unwrap();
        let record = Record::accepted(submission.clone());
        assert!(matches!(reply.end(&record, vec![end]).await, Err(JournalError::Forbidden(_))));
        assert_eq!(reply.fate(&submission, 1, at, at).await.unwrap(), Fate::EndedBefore);
        assert!(waiting.settled().is_none() && announced.try_recv().is_err());
        assert_eq!(reply.fate(&submission, 1, at, ended_at).await.unwrap(), Fate::Ended);
        assert_eq!(waiting.settled().unwrap().0.progress.state.name(), StateName::Completed);
        assert_eq!(announced.try_recv().unwrap().state, StateName::Completed);
    }
}
