//! The one way to record: events of a submission come in; once the journal has them, they are counted and announced, and
//! whoever waits for them is woken.

use super::LocalWaiters;
use crate::{
    broker::{Announcement, Broker},
    domain::{Change, Clock, Event, Progress, StateName, Submission, SubmissionId, whole_microseconds},
    journal::{Entry, Journal, JournalError, Moved, Record},
    telemetry::Metrics,
};
use jiff::Timestamp;
use std::sync::Arc;
use tokio::sync::Notify;

/// The submissions of an installation, and all that may be done with them. Clones are the same.
#[derive(Clone)]
pub struct Submissions {
    /// The truth. Only this module changes a state in it.
    pub(super) journal: Arc<dyn Journal>,
    pub(super) clock: Arc<dyn Clock>,
    /// `None`: nobody waits in this process, and who waits elsewhere looks into the journal.
    listeners: Option<Listeners>,
}

/// Who is told of a change, in a process that serves. It lives as long as the process.
#[derive(Clone)]
pub struct Listeners {
    /// Carries announcements to the gateways of all processes.
    pub broker: Arc<dyn Broker>,
    /// The offices that wait at this process's gateway.
    pub waiters: Arc<LocalWaiters>,
    /// Every state that a submission enters is counted here, once: but for what a worker has put back or parked without its
    /// hearing that the journal has it.
    pub metrics: Metrics,
    /// Wakes the relay of this process: the outbox has something new.
    pub outbox_filled: Arc<Notify>,
}

impl Submissions {
    pub fn serving(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, listeners: Listeners) -> Self {
        Self { journal, clock, listeners: Some(listeners) }
    }

    /// For whoever has nobody to tell: a command, which ends before that, and a role that only looks.
    pub fn without_listeners(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> Self {
        Self { journal, clock, listeners: None }
    }

    /// An event that happens now.
    pub(super) async fn happened(&self, id: SubmissionId, event: Event) -> Result<Progress, JournalError> {
        self.record(id, vec![Entry::new(event, self.clock.now())], None).await
    }

    /// Records first and tells afterwards: a word may be lost, the record may not. `whole`: the submission, where the caller
    /// has it, so that whoever waits at this process is spared reading it.
    pub(super) async fn record(
        &self,
        id: SubmissionId,
        entries: Vec<Entry>,
        whole: Option<&Submission>,
    ) -> Result<Progress, JournalError> {
        let at = entries.last().map_or_else(|| self.clock.now(), |entry| entry.at);
        let changed_at = whole_microseconds(at);
        let is_awaited = |_: &&Submission| self.listeners.iter().any(|it| it.waiters.is_awaited(id));
        let moved = match whole.filter(is_awaited) {
            Some(submission) => {
                let (moved, timeline) = self.journal.record_whole(id, entries).await?;
                let progress = moved.progress.clone();
                self.hand_over(
                    Record { submission: submission.clone(), progress, changed_at, erased_at: None },
                    timeline,
                );
                moved
            }
            None => self.journal.record_all(id, entries).await?,
        };
        self.count(&moved);
        self.announce(&moved, changed_at).await;
        Ok(moved.progress)
    }

    /// For changes of many at once, which the journal makes in one transaction. They are not announced: they make submissions
    /// `accepted` or `queued`, which nobody waits for.
    pub(super) fn have_moved(&self, all: &[Moved]) {
        all.iter().for_each(|moved| self.count(moved));
    }

    /// Counts the states that it has entered, and wakes the relay if it is in the outbox now.
    pub(super) fn count(&self, moved: &Moved) {
        let Some(listeners) = &self.listeners else { return };
        for state in &moved.entered {
            listeners.metrics.submission(*state, &moved.service, &moved.agency);
        }
        if moved.entered.last() == Some(&StateName::Accepted) {
            self.wake_relay();
        }
    }

    pub(super) fn count_entered(&self, state: StateName, submission: &Submission) {
        let Some(listeners) = &self.listeners else { return };
        listeners.metrics.submission(state, &submission.service, &submission.agency);
    }

    /// The relay of this process has something new in the outbox.
    pub(super) fn wake_relay(&self) {
        self.listeners.iter().for_each(|listeners| listeners.outbox_filled.notify_one());
    }

    /// To whoever waits for it here.
    pub(super) fn hand_over(&self, record: Record, timeline: Vec<Change>) {
        let Some(listeners) = &self.listeners else { return };
        if record.progress.state.name().is_settled() {
            listeners.waiters.put(record, timeline);
        }
    }

    pub(super) async fn announce(&self, moved: &Moved, at: Timestamp) {
        let Some(listeners) = &self.listeners else { return };
        let Moved { submission, office, agency, service, trace, progress, .. } = moved;
        let announcement = Announcement {
            submission: *submission,
            office: office.clone(),
            agency: agency.clone(),
            service: service.clone(),
            state: progress.state.name(),
            at,
            trace: *trace,
        };
        if let Err(error) = listeners.broker.announce(&announcement).await {
            tracing::debug!(%submission, %error, "not announced; who waits reads the journal");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        broker::embedded::{EmbeddedBroker, EmbeddedSettings},
        domain::{
            Answer, CallContext, Code, Effect, Fault, Finding, ManualClock, Priority, Stage, Subject, TraceParent,
        },
        journal::{Acceptance, IdempotencyKey, sqlite::SqliteJournal},
        submissions::PublishBy,
    };

    pub fn submission() -> Submission {
        let now = Timestamp::UNIX_EPOCH;
        Submission {
            id: SubmissionId::new(),
            office: "causeni".parse().unwrap(),
            service: "person-lookup".parse().unwrap(),
            agency: "civil-registry".parse().unwrap(),
            effect: Effect::Read,
            priority: Priority::Ordinary,
            context: CallContext { clerk: "a".into(), entity: "b".into(), legal_basis: "c".into(), reason: "d".into() },
            subject: Subject { scheme: "idnp".into(), id: "1".into() },
            data: serde_json::json!({}),
            attachments: vec![],
            accepted_at: now,
            expires_at: now,
            trace: TraceParent::fresh(),
        }
    }

    fn serving(journal: &Arc<dyn Journal>, metrics: &Metrics) -> Submissions {
        let listeners = Listeners {
            broker: Arc::new(EmbeddedBroker::start(EmbeddedSettings::default())),
            waiters: Arc::default(),
            metrics: metrics.clone(),
            outbox_filled: Arc::default(),
        };
        Submissions::serving(journal.clone(), Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH)), listeners)
    }

    /// What the metric says of a state.
    pub fn counted(metrics: &Metrics, state: StateName) -> usize {
        let line = format!(
            "punte_submissions_total{{state=\"{state}\",service=\"person-lookup\",agency=\"civil-registry\"}} "
        );
        let text = metrics.to_text();
        text.lines().find_map(|it| it.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
    }

    #[tokio::test]
    async fn every_state_that_a_submission_enters_is_counted_once_whoever_has_changed_it() {
        let journal: Arc<dyn Journal> = Arc::new(SqliteJournal::in_memory().unwrap());
        let metrics = Metrics::new();
        let submissions = serving(&journal, &metrics);
        let (now, hour) = (Timestamp::UNIX_EPOCH, jiff::SignedDuration::from_hours(1));
        let fault = |code| Fault::new(code, Stage::Send, "");
        let mut ids = Vec::new();
        for (number, effect) in [Effect::Once, Effect::Idempotent, Effect::Read].into_iter().enumerate() {
            let submission = Submission { effect, expires_at: now + hour, ..submission() };
            let key = IdempotencyKey { key: number.to_string(), body_sha256: [7; 32] };
            let publish_by = PublishBy::Caller { until: now + hour };
            submissions.accept(&submission, &key, false, publish_by).await.unwrap();
            assert!(matches!(
                submissions.accept(&submission, &key, false, publish_by).await,
                Ok(Acceptance::Repeated(_))
            ));
            ids.push(submission.id);
        }
        let [once, idempotent, read] = ids[..] else { panic!("three") };
        let agency = "civil-registry".parse().unwrap();
        let begun = |attempt| Entry::new(Event::Begun { attempt, lease_until: now + hour, asks_first: true }, now);

        submissions.published(&ids).await.unwrap();
        submissions.published(&ids).await.unwrap();
        submissions.begin(once, begun(1)).await.unwrap();
        assert_eq!(submissions.void_leases().await.unwrap(), 1);
        submissions
            .end_lapsed(once, Event::OutcomeUnknown { attempt: 1, fault: fault(Code::Interrupted) })
            .await
            .unwrap();
        let seen = submissions.find(once).await.unwrap().unwrap();
        submissions.resolve(&seen, "jane", Finding::DidNotHappen).await.unwrap();
        assert!(submissions.resolve(&seen, "john", Finding::DidNotHappen).await.is_err());
        submissions.park(once, fault(Code::AgencyUnknown)).await.unwrap();
        submissions.discard(once, "jane").await.unwrap();

        submissions.hold_back(idempotent, now, now, fault(Code::AgencyAway)).await.unwrap();
        assert_eq!(submissions.wake(&agency, now, 9, &Default::default()).await.unwrap().len(), 1);
        submissions.give_back(idempotent, None).await.unwrap();
        submissions.cancel(idempotent, &seen.submission.office).await.unwrap();

        assert_eq!(submissions.requeue_lost(&agency, now + hour, 9).await.unwrap(), 1);
        let record = submissions.find(read).await.unwrap().unwrap();
        let answered = Event::Answered { attempt: 1, answer: Answer(serde_json::json!({})) };
        submissions.end(&record, vec![begun(1), Entry::new(answered, now)]).await.unwrap();

        let mut entered = Vec::new();
        for id in ids {
            let timeline = submissions.timeline(id).await.unwrap();
            entered.extend(timeline.into_iter().filter(|it| it.from != Some(it.to)).map(|it| it.to));
        }
        assert!(entered.len() > 15, "{entered:?}");
        for state in StateName::ALL {
            let expected = entered.iter().filter(|it| **it == state).count();
            assert_eq!(counted(&metrics, state), expected, "{state}");
        }
    }
}
