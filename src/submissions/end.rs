//! End: what an attempt has come to comes in; the journal has it afterwards, and the office that waits for it is told.

use super::Submissions;
use crate::{
    domain::{Change, Event, Progress, Submission, SubmissionId, whole_microseconds},
    journal::{Entry, JournalError, Moved, Record},
};
use jiff::Timestamp;

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

impl Submissions {
    /// The last entries of an attempt, its beginning among them if the journal does not have it yet.
    pub async fn end(&self, record: &Record, entries: Vec<Entry>) -> Result<(), JournalError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.record(record.submission.id, entries, Some(&record.submission)).await.map(drop)
    }

    /// The end of an attempt that has sent nothing, or whose worker was not heard of again.
    pub async fn end_unsent(&self, id: SubmissionId, entry: Entry) -> Result<Progress, JournalError> {
        self.record(id, vec![entry], None).await
    }

    /// The lease of an attempt has run out. `event`: what is to be made of an attempt whose outcome nobody knows.
    pub async fn end_lapsed(&self, id: SubmissionId, event: Event) -> Result<Progress, JournalError> {
        self.happened(id, event).await
    }

    /// What the journal has of an attempt whose last entries it did not take. Those that it has, though it was not heard to
    /// say so, are counted and announced now.
    pub async fn fate(
        &self,
        submission: &Submission,
        attempt: u32,
        begun_at: Timestamp,
        entries: &[Entry],
    ) -> Result<Fate, JournalError> {
        let attempts = self.journal.attempts(submission.id).await?;
        let begun_at = whole_microseconds(begun_at);
        let recorded_at: Vec<_> = entries.iter().map(|entry| whole_microseconds(entry.at)).collect();
        match attempts.iter().find(|it| it.number == attempt && it.begun_at == begun_at).map(|it| it.ended_at) {
            None => return Ok(Fate::Lost),
            Some(None) => return Ok(Fate::Open),
            Some(Some(at)) if Some(&at) != recorded_at.last() => return Ok(Fate::EndedBefore),
            Some(Some(_)) => {}
        }
        if let Some((record, timeline)) = self.journal.find_whole(submission.id).await? {
            let is_theirs = |change: &&Change| {
                recorded_at.contains(&change.at) && change.from.is_some_and(|from| from != change.to)
            };
            let entered = timeline.iter().filter(is_theirs);
            let moved = Moved { entered: entered.map(|change| change.to).collect(), ..as_moved(&record) };
            let changed_at = record.changed_at;
            self.count(&moved);
            self.hand_over(record, timeline);
            self.announce(&moved, changed_at).await;
        }
        Ok(Fate::Ended)
    }
}

/// As it was announced, had its recording been heard of.
fn as_moved(record: &Record) -> Moved {
    let Submission { id: submission, office, agency, service, trace, .. } = &record.submission;
    let (office, agency, service) = (office.clone(), agency.clone(), service.clone());
    Moved {
        submission: *submission,
        office,
        agency,
        service,
        trace: *trace,
        progress: record.progress.clone(),
        entered: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        broker::{
            Broker,
            embedded::{EmbeddedBroker, EmbeddedSettings},
        },
        domain::{Answer, StateName, SystemClock},
        journal::{IdempotencyKey, Journal, sqlite::SqliteJournal},
        submissions::{
            Listeners, LocalWaiters,
            record::tests::{counted, submission},
        },
        telemetry::Metrics,
    };
    use std::sync::Arc;

    #[tokio::test]
    async fn an_end_that_the_journal_was_not_heard_to_have_is_announced_all_the_same() {
        let journal = Arc::new(SqliteJournal::in_memory().unwrap());
        let broker = Arc::new(EmbeddedBroker::start(EmbeddedSettings::default()));
        let (waiters, metrics) = (Arc::<LocalWaiters>::default(), Metrics::new());
        let listeners = Listeners {
            broker: broker.clone(),
            waiters: waiters.clone(),
            metrics: metrics.clone(),
            outbox_filled: Default::default(),
        };
        let submissions = Submissions::serving(journal.clone(), Arc::new(SystemClock), listeners);
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
        let answered = |at| Entry::new(Event::Answered { attempt: 1, answer: Answer(serde_json::json!({})) }, at);
        let ends = |at| vec![answered(at)];
        let (waiting, mut announced) = (waiters.wait(submission.id), broker.announcements());
        assert_eq!(submissions.fate(&submission, 1, at, &ends(ended_at)).await.unwrap(), Fate::Open);
        assert_eq!(
            submissions.fate(&submission, 1, ended_at, &ends(ended_at)).await.unwrap(),
            Fate::Lost,
            "another's of that number"
        );
        assert_eq!(submissions.fate(&submission, 2, at, &ends(ended_at)).await.unwrap(), Fate::Lost);
        // It is recorded, and this word is lost on its way to the worker, which says it again.
        journal.record(submission.id, answered(ended_at)).await.unwrap();
        let record = Record::accepted(submission.clone());
        assert!(matches!(submissions.end(&record, ends(ended_at)).await, Err(JournalError::Forbidden(_))));
        assert_eq!(submissions.fate(&submission, 1, at, &ends(at)).await.unwrap(), Fate::EndedBefore);
        assert!(waiting.settled().is_none() && announced.try_recv().is_err());
        let completed = || counted(&metrics, StateName::Completed);
        assert_eq!(completed(), 0);
        assert_eq!(submissions.fate(&submission, 1, at, &ends(ended_at)).await.unwrap(), Fate::Ended);
        assert_eq!(waiting.settled().unwrap().0.progress.state.name(), StateName::Completed);
        assert_eq!(announced.try_recv().unwrap().state, StateName::Completed);
        assert_eq!(completed(), 1);
        // A read's beginning is recorded together with its end.
        let read = Submission { id: SubmissionId::new(), ..submission };
        let key = IdempotencyKey { key: "k2".into(), body_sha256: [7; 32] };
        journal.accept(&read, &key, false, None).await.unwrap();
        let begun = Event::Begun { attempt: 1, lease_until: ended_at, asks_first: false };
        let both = vec![Entry::new(begun, at), answered(ended_at)];
        journal.record_all(read.id, both.clone()).await.unwrap();
        assert_eq!(submissions.fate(&read, 1, at, &both).await.unwrap(), Fate::Ended);
        assert_eq!((completed(), counted(&metrics, StateName::Sending)), (2, 1));
    }
}
