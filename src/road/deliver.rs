//! The whole way on one screen: a submission's number comes in from the queue, the journal holds its outcome at the end.

use super::{Answering, Case, Line, Lines, Reply, Sealed, Sign, begin::later, read, seal, send, settle, transform};
use crate::{
    adapter::{Operation, Reading, TransformInput},
    attachments::AttachmentStore,
    broker::WorkItem,
    catalogue::Catalogue,
    domain::{
        AgencyName, Attempt, AttemptOutcome, Clock, Code, Effect, Event, Fault, Stage, StateName, Verdict, WireRecord,
    },
    journal::{Entry, Journal, JournalError, Record},
    telemetry::{AttemptEnd, Metrics},
    wire::Received,
};
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

pub struct Road {
    pub journal: Arc<dyn Journal>,
    pub reply: Reply,
    pub catalogue: Arc<Catalogue>,
    pub lines: Arc<Lines>,
    pub attachments: AttachmentStore,
    pub clock: Arc<dyn Clock>,
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
    Done(Sign),
    /// The journal could not be written: the message must come again.
    NotRecorded,
}

/// An attempt that has been begun.
struct Turn<'a> {
    record: &'a Arc<Record>,
    line: &'a Arc<Line>,
    operation: &'a Operation,
    lease_until: Timestamp,
}

/// What one attempt came to.
struct Outcome {
    ending: Ending,
    wire: WireRecord,
}

enum Ending {
    Read(Result<Reading, Fault>),
    /// The agency has not seen it, but until then an earlier attempt may still be on its way through the agency.
    TooEarly(Timestamp),
}

/// How long something waits that cannot be sent for want of a usable key.
const KEY_WAIT: SignedDuration = SignedDuration::from_secs(60);
pub(super) const JOURNAL_PAUSE: Duration = Duration::from_secs(1);

impl Road {
    pub async fn deliver(&self, agency: &AgencyName, item: &WorkItem) -> Delivered {
        let found = match self.patiently(|| self.journal.find(item.submission)).await {
            Ok(found) => found,
            Err(error) => return unrecorded(item, &error),
        };
        let Some(record) = found else {
            tracing::error!(submission = %item.submission, %agency, "the journal knows no such submission; dropped");
            return Delivered::Done(Sign::None);
        };
        if !matches!(record.progress.state.name(), StateName::Accepted | StateName::Queued) {
            tracing::debug!(submission = %item.submission, state = %record.progress.state.name(), "already taken up");
            return Delivered::Done(Sign::None);
        }
        let record = Arc::new(record);
        let delivered = AssertUnwindSafe(self.walk(&record)).catch_unwind().await;
        match delivered {
            Ok(Ok(sign)) => Delivered::Done(sign),
            Ok(Err(error)) => unrecorded(item, &error),
            Err(_) => self.after_panic(&record).await,
        }
    }

    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    async fn walk(&self, record: &Arc<Record>) -> Result<Sign, JournalError> {
        let submission = &record.submission;
        if self.clock.now() >= submission.expires_at {
            // The scheduler ends it.
            return Ok(Sign::None);
        }
        let (line, operation) = match self.operation(record) {
            Ok(found) => found,
            Err(fault) => return self.not_sendable(record, fault).await,
        };
        // Whoever may have acted on an earlier attempt is asked first.
        let asks_first = operation.effect == Effect::Lookup && record.progress.in_doubt;
        let sealed = match self.prepare(record, &line, asks_first).await {
            Ok(sealed) => sealed,
            Err(fault) => return self.not_sendable(record, fault).await,
        };
        let Some(begun) = self.begin(record, operation, asks_first).await? else { return Ok(Sign::None) };
        let attempt = begun.attempt;
        let turn = Turn { record, line: &line, operation, lease_until: begun.lease_until };

        let outcome = if asks_first {
            self.ask_then_send(&turn, sealed).await?
        } else {
            self.exchange(&turn, sealed, false).await
        };

        let now = self.clock.now();
        let case =
            Case { effect: operation.effect, attempt, tries: begun.tries, schedule: &line.adapter.schedule, now };
        let wire = Some(outcome.wire.capped(self.wire_max_bytes));
        let (sign, event, not_before) = match outcome.ending {
            Ending::Read(reading) => (sign_of(&reading), settle(reading, case), None),
            Ending::TooEarly(until) => (Sign::Well, Event::PutBack { attempt }, Some(until)),
        };
        self.report(record, &event, now.duration_since(begun.at));
        let entry = Entry { wire, not_before, ..Entry::new(event, now) };
        match self.patiently(|| self.reply.record(submission, entry.clone())).await {
            Ok(_) => Ok(sign),
            Err(JournalError::Forbidden(error)) => {
                tracing::warn!(submission = %submission.id, attempt, %error, "too late: the attempt was taken for dead");
                Ok(sign)
            }
            Err(error) => Err(error),
        }
    }

    fn operation(&self, record: &Record) -> Result<(Arc<Line>, &Operation), Fault> {
        let submission = &record.submission;
        let unknown =
            |code| Fault::new(code, Stage::Transform, format!("{} of {}", submission.service, submission.agency));
        let line = self.lines.get(&submission.agency).ok_or_else(|| unknown(Code::AgencyUnknown))?;
        let operation = line.adapter.operations.get(&submission.service);
        Ok((line.clone(), operation.ok_or_else(|| unknown(Code::OperationUnknown))?))
    }

    /// Transform and seal, away from the threads that serve the network.
    async fn prepare(&self, record: &Arc<Record>, line: &Arc<Line>, is_lookup: bool) -> Result<Sealed, Fault> {
        let mut attachments = Vec::new();
        for attachment in &record.submission.attachments {
            let lost =
                |error| Fault::new(Code::AttachmentLost, Stage::Transform, format!("{}: {error}", attachment.id));
            attachments.push((attachment.clone(), self.attachments.read(attachment).await.map_err(lost)?));
        }
        let (record, line, now) = (record.clone(), line.clone(), self.clock.now());
        let blocking = tokio::task::spawn_blocking(move || {
            let submission = &record.submission;
            let attempt = record.progress.attempts + 1;
            let input = TransformInput { submission, attempt, now, attachments: &attachments };
            let operation = operation_of(&line, &record)?;
            let exchange = if is_lookup { operation.lookup.as_ref() } else { Some(&operation.request) };
            let exchange = exchange.ok_or_else(|| missing(Code::OperationUnknown))?;
            seal(transform(exchange, &input)?, &line, submission.trace.child(), now)
        });
        blocking.await.map_err(|_| missing(Code::Internal))?
    }

    /// Nothing has been sent: what can be mended by itself waits, everything else goes in front of an operator.
    async fn not_sendable(&self, record: &Record, fault: Fault) -> Result<Sign, JournalError> {
        tracing::warn!(submission = %record.submission.id, agency = %record.submission.agency, %fault, "cannot be sent");
        let now = self.clock.now();
        let entry = match fault.verdict {
            Verdict::Retry => Entry { not_before: Some(later(now, KEY_WAIT)), ..Entry::new(Event::Requeued, now) },
            Verdict::DoNotRetry | Verdict::Unknown => Entry::new(Event::Parked { fault }, now),
        };
        match self.patiently(|| self.reply.record(&record.submission, entry.clone())).await {
            Ok(_) | Err(JournalError::Forbidden(_)) => Ok(Sign::None),
            Err(error) => Err(error),
        }
    }

    async fn ask_then_send(&self, turn: &Turn<'_>, lookup: Sealed) -> Result<Outcome, JournalError> {
        let asked = self.exchange(turn, lookup, true).await;
        let reading = match asked.ending {
            Ending::Read(Ok(Reading::NotSeen)) => {
                let settled_at = self.settled_at(turn).await?;
                if self.clock.now() < settled_at {
                    return Ok(Outcome { ending: Ending::TooEarly(settled_at), ..asked });
                }
                match self.prepare(turn.record, turn.line, false).await {
                    Ok(sealed) => return Ok(self.exchange(turn, sealed, false).await),
                    Err(fault) => Err(fault),
                }
            }
            Ending::Read(Ok(Reading::Unmapped | Reading::Failed { .. })) => {
                Err(Fault::new(Code::AgencyLookupUnclear, Stage::Read, "the lookup gave no clear answer"))
            }
            // Not having been able to ask leaves the doubt as it was.
            Ending::Read(Err(fault)) => Err(Fault { verdict: Verdict::Unknown, ..fault }),
            ending => return Ok(Outcome { ending, ..asked }),
        };
        Ok(Outcome { ending: Ending::Read(reading), ..asked })
    }

    /// When the agency is through with all that was sent before: it gets as long again as an exchange may take. That our
    /// side has ended, be it by a timeout, a reset or a crash, ends nothing on its side.
    async fn settled_at(&self, turn: &Turn<'_>) -> Result<Timestamp, JournalError> {
        let before = self.patiently(|| self.journal.attempts(turn.record.submission.id)).await?;
        let left_in_doubt = |attempt: &Attempt| match &attempt.outcome {
            Some(AttemptOutcome::Failed { fault }) if fault.verdict == Verdict::Unknown => attempt.ended_at,
            _ => None,
        };
        let timeout = SignedDuration::try_from(turn.operation.timeout).unwrap_or(SignedDuration::MAX);
        let last = before.iter().filter_map(left_in_doubt).max();
        Ok(last.map_or(Timestamp::MIN, |ended_at| later(ended_at, timeout)))
    }

    async fn exchange(&self, turn: &Turn<'_>, sealed: Sealed, is_lookup: bool) -> Outcome {
        let timeout = turn.operation.timeout;
        let mut wire = WireRecord::default();
        // Whoever wakes up after a long pause may find that others have taken it up meanwhile.
        let latest = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
        if later(self.clock.now(), latest) > turn.lease_until {
            let fault = Fault::new(Code::Interrupted, Stage::Send, "the lease ran out before it was sent");
            return Outcome { ending: Ending::Read(Err(Fault { verdict: Verdict::Retry, ..fault })), wire };
        }
        wire.sent = sealed.as_bytes();
        let reading = match send(sealed, turn.line, timeout).await {
            Ok(received) => {
                wire.http_status = Some(received.status);
                wire.received = received.body.to_vec();
                self.read(turn.record, turn.line, received, is_lookup).await
            }
            Err(fault) => Err(fault),
        };
        Outcome { ending: Ending::Read(reading), wire }
    }

    async fn read(
        &self,
        record: &Arc<Record>,
        line: &Arc<Line>,
        received: Received,
        is_lookup: bool,
    ) -> Result<Reading, Fault> {
        let (record, line, catalogue, now) = (record.clone(), line.clone(), self.catalogue.clone(), self.clock.now());
        let blocking = tokio::task::spawn_blocking(move || {
            let operation = operation_of(&line, &record)?;
            let exchange = if is_lookup { operation.lookup.as_ref() } else { Some(&operation.request) };
            let service = catalogue.get(&record.submission.service).ok_or_else(|| missing(Code::OperationUnknown))?;
            read(
                &received,
                &Answering {
                    exchange: exchange.ok_or_else(|| missing(Code::OperationUnknown))?,
                    line: &line,
                    answer_schema: &service.answer_schema,
                    correlates: operation.correlates,
                    reference: record.submission.id,
                    now,
                },
            )
        });
        // A filter that panics has met an answer that nobody can read.
        blocking.await.map_err(|_| Fault::new(Code::AnswerMappingFailed, Stage::Read, "reading it failed inside"))?
    }

    /// Repeats a call of the journal until it works: the outcome of an attempt exists nowhere else.
    pub(super) async fn patiently<T, F>(&self, call: impl Fn() -> F) -> Result<T, JournalError>
    where
        F: Future<Output = Result<T, JournalError>>,
    {
        loop {
            match call().await {
                Err(JournalError::Unavailable(error)) if !self.abort.is_cancelled() => {
                    tracing::warn!(%error, "the journal does not answer; waiting for it");
                    tokio::time::sleep(JOURNAL_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    async fn after_panic(&self, record: &Record) -> Delivered {
        let fault = Fault::new(Code::Internal, Stage::Transform, "a step of the road failed inside");
        match self.not_sendable(record, fault).await {
            Ok(sign) => Delivered::Done(sign),
            Err(_) => Delivered::NotRecorded,
        }
    }

    fn report(&self, record: &Record, event: &Event, took: SignedDuration) {
        let (id, agency) = (record.submission.id, &record.submission.agency);
        let took = Duration::try_from(took).unwrap_or_default();
        self.metrics.attempt(agency, attempt_end(event), took);
        match event {
            Event::RetryPlanned { fault, .. } | Event::GivenUp { fault, .. } | Event::OutcomeUnknown { fault, .. } => {
                tracing::warn!(submission = %id, %agency, %fault, outcome = ?event.name(), "the attempt failed");
            }
            _ => {
                let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(submission = %id, %agency, outcome = ?event.name(), took_ms, "the agency answered");
            }
        }
    }
}

fn attempt_end(event: &Event) -> AttemptEnd {
    match event {
        Event::Answered { .. } => AttemptEnd::Answered,
        Event::RefusedByAgency { .. } => AttemptEnd::Refused,
        Event::TakenByAgency { .. } => AttemptEnd::Waiting,
        Event::PutBack { .. } => AttemptEnd::PutBack,
        Event::RetryPlanned { .. } => AttemptEnd::FailedRetry,
        Event::OutcomeUnknown { .. } => AttemptEnd::Unknown,
        _ => AttemptEnd::FailedForGood,
    }
}

fn operation_of<'a>(line: &'a Line, record: &Record) -> Result<&'a Operation, Fault> {
    line.adapter.operations.get(&record.submission.service).ok_or_else(|| missing(Code::OperationUnknown))
}

fn missing(code: Code) -> Fault {
    Fault::new(code, Stage::Transform, "it was there a moment ago")
}

fn sign_of(reading: &Result<Reading, Fault>) -> Sign {
    match reading {
        Ok(Reading::Failed { transient: true, .. }) => Sign::Ill,
        Ok(_) => Sign::Well,
        Err(fault) => Sign::of_fault(fault),
    }
}

fn unrecorded(item: &WorkItem, error: &JournalError) -> Delivered {
    tracing::error!(submission = %item.submission, %error, "the journal could not be used; the message will come again");
    Delivered::NotRecorded
}
