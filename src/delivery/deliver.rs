//! The whole way on one screen: a submission's number comes in from the queue, the journal holds its outcome at the end.

use super::{
    AcceptedCache, AgencyConnection, AgencyConnections, Case, ClockJumpDetector, Contents, HealthSignal, Marks, Taken,
    begin::{Begun, Order, Ready, begins_first},
    earlier::pause_after_nothing_done,
    exchange::{Ending, Turn},
    settle,
};
use crate::{
    adapter::{Operation, Reading},
    attachments::AttachmentStore,
    broker::WorkItem,
    catalogue::Catalogue,
    crash::{self, Point},
    domain::{AgencyName, Clock, Code, Event, Fault, Stage, StateName, Submission, Verdict, later},
    journal::{Entry, Journal, JournalError, Record},
    submissions::{Fate, Submissions},
    telemetry::Metrics,
};
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

pub struct Deliverer {
    pub journal: Arc<dyn Journal>,
    /// What the gateway of this process has just accepted.
    pub accepted: Arc<AcceptedCache>,
    pub submissions: Submissions,
    pub catalogue: Arc<Catalogue>,
    pub connections: Arc<AgencyConnections>,
    pub attachments: AttachmentStore,
    pub contents: Contents,
    pub clock: Arc<dyn Clock>,
    pub clock_jumps: ClockJumpDetector,
    pub marks: Arc<Marks>,
    pub metrics: Metrics,
    /// Bytes kept of each message sent and of each received.
    pub wire_max_bytes: usize,
    /// Nothing waits for the journal any longer once this is cancelled.
    pub abort: CancellationToken,
}

/// What the broker may do with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The journal knows all there is to know: the message may go.
    Done(HealthSignal),
    /// The journal could not be written: the message must come again.
    NotRecorded,
}

/// When a record was read.
#[derive(Clone, Copy)]
struct Seen {
    /// A moment at which the journal held exactly this record.
    at: Timestamp,
    /// How often the journal had been held before.
    holds: u64,
}

/// How long something waits that cannot be sent for want of a usable key.
const KEY_WAIT: SignedDuration = SignedDuration::from_secs(60);
pub(super) const JOURNAL_PAUSE: Duration = Duration::from_secs(1);

impl Deliverer {
    pub async fn deliver(&self, agency: &AgencyName, item: &WorkItem) -> Delivered {
        match self.accepted.take(item.submission).await {
            Taken::Accepted(record) => {
                // It may have been accepted before the journal was held for the first time.
                let seen = Seen { at: record.submission.accepted_at, holds: 0 };
                if let Some(delivered) = self.catching_panics(item, &record, seen).await {
                    return delivered;
                }
            }
            Taken::NeverAccepted => {
                tracing::debug!(submission = %item.submission, %agency, "it was not accepted; dropped");
                return Delivered::Done(HealthSignal::None);
            }
            Taken::Unknown => {}
        }
        loop {
            let seen = Seen { at: self.clock.now(), holds: self.journal.continuity().holds() };
            let delivered = self.deliver_as_read(item, seen).await;
            // What was read of a journal that was held since says nothing of the one that goes on.
            if delivered.is_some() || seen.holds == self.journal.continuity().holds() {
                return delivered.unwrap_or(Delivered::Done(HealthSignal::None));
            }
        }
    }

    /// `None`: the journal refused the beginning because the record has changed since.
    async fn deliver_as_read(&self, item: &WorkItem, seen: Seen) -> Option<Delivered> {
        let found = match self.with_retry(|| self.submissions.find(item.submission)).await {
            Ok(found) => found,
            Err(error) => return Some(unrecorded(item, &error)),
        };
        let Some(record) = found else {
            tell_unknown(item);
            return Some(Delivered::Done(HealthSignal::None));
        };
        if !is_to_do(record.progress.state.name()) {
            tracing::debug!(submission = %item.submission, state = %record.progress.state.name(), "already taken up");
            return Some(Delivered::Done(HealthSignal::None));
        }
        self.catching_panics(item, &Arc::new(record), seen).await
    }

    async fn catching_panics(&self, item: &WorkItem, record: &Arc<Record>, seen: Seen) -> Option<Delivered> {
        crash::here(Point::WorkerDelivered);
        match AssertUnwindSafe(self.attempt(record, seen)).catch_unwind().await {
            Ok(Ok(signal)) => signal.map(Delivered::Done),
            Ok(Err(error)) => Some(unrecorded(item, &error)),
            Err(_) => Some(self.after_panic(record).await),
        }
    }

    async fn attempt(&self, record: &Arc<Record>, seen: Seen) -> Result<Option<HealthSignal>, JournalError> {
        let submission = &record.submission;
        let now = self.clock.now();
        if now >= submission.expires_at {
            // The scheduler ends it.
            return Ok(Some(HealthSignal::None));
        }
        let (connection, operation) = match self.operation(record) {
            Ok(found) => found,
            Err(fault) => return self.not_sendable(record, fault).await.map(Some),
        };
        // An adapter that has declared another effect since does not lift the rule by which it was accepted.
        let effect = operation.effect.max(submission.effect);
        // Until its end: the mark moves on with what leaves.
        let leaving = self.with_retry(|| self.marks.cover(effect)).await?;
        let earlier = self.earlier(record, effect, operation.timeout).await?;
        // Whoever may have acted on an earlier attempt is asked first.
        let asks_first = [effect, submission.effect].iter().any(|effect| record.progress.is_to_be_asked_about(*effect));
        let begins_first = begins_first(effect, now.duration_since(seen.at));
        let order = Order { effect, asks_first, begins_first, holds: seen.holds };
        let (begun, prepared) = match self.ready(record, &connection, operation, order).await? {
            Ready::ToSend(begun, prepared) => (begun, *prepared),
            Ready::NotSent(signal) => return Ok(Some(signal)),
            Ready::Taken => return Ok(None),
        };
        let attempt = begun.attempt;
        if let Some(leaving) = &leaving {
            leaving.leaves(submission.id, attempt, begun.at);
        }
        let turn = Turn { record, connection: &connection, operation, effect, lease_until: begun.lease_until, earlier };

        let (begun, outcome) = match begun.is_recorded {
            true if asks_first => (begun, self.ask_then_send(&turn, prepared).await?),
            true => (begun, self.exchange(&turn, prepared, false).await),
            false => match self.exchange_and_begin(&turn, begun, prepared).await? {
                Some(both) => both,
                None => return Ok(None),
            },
        };

        let now = self.clock.now();
        let case = Case {
            effect,
            attempt,
            tries: begun.tries,
            schedule: &connection.adapter.schedule,
            now,
            waiting_since: record.progress.waiting_since,
            is_halted: connection.halt.halted().is_some(),
            pause: pause_after_nothing_done(&connection, operation, effect),
        };
        let (signal, event, not_before) = match outcome.ending {
            Ending::Read(reading) => (sign_of(&reading), settle(reading, case), None),
            Ending::TooEarly(until) => (HealthSignal::Well, Event::PutBack { attempt }, Some(until)),
            // It was certainly not sent, and that it was too slow says nothing of it: it uses no try.
            Ending::LeaseOver => (HealthSignal::None, Event::PutBack { attempt }, None),
        };
        self.report(record, &event, now.duration_since(begun.at));
        let end = Entry { wire: Some(outcome.wire), not_before, ..Entry::new(event, now) };
        let entries = if begun.is_recorded { vec![end] } else { vec![begun.entry(), end] };
        crash::here(Point::WorkerSettled);
        let recorded = self.with_retry(|| self.submissions.end(record, entries.clone())).await;
        crash::here(Point::WorkerRecorded);
        match recorded {
            Ok(()) => Ok(Some(signal)),
            Err(error) if is_too_late(&error, &begun) => {
                self.too_late(submission, &begun, now, &error).await?;
                Ok(Some(signal))
            }
            Err(error @ (JournalError::NotTaken(_) | JournalError::Corrupt(_))) => {
                self.not_kept(record, &begun, case, &error).await.map(Some)
            }
            Err(error) => Err(error),
        }
    }

    /// What came of the attempt cannot be recorded as it is, however often that is tried: an operator sees why, and the place
    /// that it holds is free for others.
    async fn not_kept(
        &self,
        record: &Arc<Record>,
        begun: &Begun,
        case: Case<'_>,
        error: &JournalError,
    ) -> Result<HealthSignal, JournalError> {
        let id = record.submission.id;
        tracing::error!(submission = %id, %error, "what came of an attempt cannot be recorded; an operator has to decide");
        let fault =
            Fault::new(Code::AnswerMappingFailed, Stage::Settle, format!("its outcome cannot be kept: {error}"));
        let event = settle(Err(Fault { verdict: Verdict::DoNotRetryInDoubt, ..fault }), case);
        let end = Entry::new(event, case.now);
        let entries = if begun.is_recorded { vec![end] } else { vec![begun.entry(), end] };
        match self.with_retry(|| self.submissions.end(record, entries.clone())).await {
            Err(error) if is_too_late(&error, begun) => {
                self.too_late(&record.submission, begun, case.now, &error).await?;
            }
            ended => ended?,
        }
        Ok(HealthSignal::None)
    }

    /// The journal does not take the end of an attempt, and shows why.
    async fn too_late(
        &self,
        submission: &Submission,
        begun: &Begun,
        ended_at: Timestamp,
        error: &JournalError,
    ) -> Result<(), JournalError> {
        let (id, attempt) = (submission.id, begun.attempt);
        match self.with_retry(|| self.submissions.fate(submission, attempt, begun.at, ended_at)).await? {
            // A try without an answer has recorded it all the same.
            Fate::Ended => {}
            // Of a read that another worker has taken up, or that has changed since, nothing is lost.
            _ if !begun.is_recorded => {
                tracing::debug!(submission = %id, attempt, %error, "this read is no longer ours, and its answer is dropped");
            }
            Fate::EndedBefore => {
                tracing::warn!(submission = %id, attempt, %error, "too late: the attempt was ended before its answer came");
            }
            Fate::Open => {
                let text = "too late: the submission has moved on while the attempt was under way";
                tracing::warn!(submission = %id, attempt, %error, "{text}");
            }
            Fate::Lost => {
                let text = "the journal has lost this attempt, which it had recorded: what came of it cannot be kept";
                tracing::error!(submission = %id, attempt, %error, "{text}");
                // It is an earlier one: nobody may go on with it.
                self.with_retry(|| self.journal.mark()).await?;
            }
        }
        Ok(())
    }

    fn operation(&self, record: &Record) -> Result<(Arc<AgencyConnection>, &Operation), Fault> {
        let submission = &record.submission;
        let unknown =
            |code| Fault::new(code, Stage::Transform, format!("{} of {}", submission.service, submission.agency));
        let adapter = self.connections.adapter(&submission.agency).ok_or_else(|| unknown(Code::AgencyUnknown))?;
        let operation = adapter.operations.get(&submission.service);
        let operation = operation.ok_or_else(|| unknown(Code::OperationUnknown))?;
        Ok((self.connections.get(&submission.agency).ok_or_else(|| unknown(Code::AgencyUnknown))??, operation))
    }

    /// Nothing has been sent: what can be mended by itself waits, everything else goes in front of an operator.
    pub(super) async fn not_sendable(&self, record: &Record, fault: Fault) -> Result<HealthSignal, JournalError> {
        tracing::warn!(submission = %record.submission.id, agency = %record.submission.agency, %fault, "cannot be sent");
        let (id, not_before) = (record.submission.id, later(self.clock.now(), key_wait(&fault)));
        let recorded = match unsendable(fault) {
            Event::Parked { fault } => self.with_retry(|| self.submissions.park(id, fault.clone())).await,
            _ => self.with_retry(|| self.submissions.give_back(id, Some(not_before))).await,
        };
        match recorded {
            Ok(_) | Err(JournalError::Forbidden(_)) => Ok(HealthSignal::None),
            Err(error) => Err(error),
        }
    }

    /// Repeats a call of the journal until it works: the outcome of an attempt exists nowhere else.
    pub(super) async fn with_retry<T, F>(&self, call: impl Fn() -> F) -> Result<T, JournalError>
    where
        F: Future<Output = Result<T, JournalError>>,
    {
        loop {
            match call().await {
                Err(error @ (JournalError::Unavailable(_) | JournalError::Held(_))) if !self.abort.is_cancelled() => {
                    tracing::warn!(%error, "waiting for the journal");
                    tokio::time::sleep(JOURNAL_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    async fn after_panic(&self, record: &Record) -> Delivered {
        let fault = Fault::new(Code::Internal, Stage::Transform, "a step of the road failed inside");
        match self.not_sendable(record, fault).await {
            Ok(signal) => Delivered::Done(signal),
            Err(_) => Delivered::NotRecorded,
        }
    }
}

/// How long it takes at least until a key may be usable.
pub(super) fn key_wait(fault: &Fault) -> SignedDuration {
    fault.retry_after.and_then(|wait| SignedDuration::try_from(wait).ok()).unwrap_or(KEY_WAIT)
}

/// Only these are sent; a message about any other says nothing new.
pub fn is_to_do(state: StateName) -> bool {
    matches!(state, StateName::Accepted | StateName::Queued)
}

/// What becomes of a submission of which nothing could be sent.
pub fn unsendable(fault: Fault) -> Event {
    match fault.verdict {
        Verdict::Retry => Event::GivenBack,
        Verdict::DoNotRetry | Verdict::Unknown | Verdict::DoNotRetryInDoubt => Event::Parked { fault },
    }
}

/// The submission has moved on without the attempt, or is not even there any more, though the journal has recorded that the
/// attempt was begun.
fn is_too_late(error: &JournalError, begun: &Begun) -> bool {
    match error {
        JournalError::Forbidden(_) => true,
        JournalError::NotFound(_) => begun.is_recorded,
        _ => false,
    }
}

pub fn tell_unknown(item: &WorkItem) {
    let text = "the journal knows no such submission; dropped. A process may have died while it accepted it";
    tracing::warn!(submission = %item.submission, agency = %item.agency, "{text}; or the journal is older than the queue");
}

fn sign_of(reading: &Result<Reading, Fault>) -> HealthSignal {
    match reading {
        Ok(Reading::Failed { .. }) => HealthSignal::Answered,
        Ok(_) => HealthSignal::Well,
        Err(fault) => HealthSignal::of_fault(fault),
    }
}

fn unrecorded(item: &WorkItem, error: &JournalError) -> Delivered {
    tracing::error!(submission = %item.submission, %error, "the journal could not be used; the message will come again");
    Delivered::NotRecorded
}
