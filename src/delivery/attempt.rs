//! The whole life of one attempt, from top to bottom: compose, lease, seal, send, read, settle, record.
//!
//! A first try, a retry, a lookup and an operator's replay all come by here. What makes the way quicker lies beside it, in
//! [`FastPath`](super::FastPath).

use super::{
    Deliverer, HealthSignal,
    compose::{Composed, Size, compose},
    earlier_replies::{EarlierReplies, pause_after_nothing_done},
    fast_path::LeaseOrder,
    history::History,
    job::{Job, exchange_of, operation_of},
    lease::{Lease, lease, may_leave},
    lookup::{Asked, after_asking},
    read::read,
    record::{record, record_unkept},
    report::report,
    seal::{Sealed, seal},
    send::send,
    settle::{Case, settle},
    unsent::{not_sendable, put_back},
};
use crate::{
    adapter::{Purpose, Reading},
    domain::{Effect, Event, Fault, WireRecord},
    failpoints::{self, Failpoint},
    journal::{Entry, JournalError, Record},
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tokio::time::Instant;

pub(super) enum Attempted {
    /// The journal knows all there is to know.
    Ended(HealthSignal),
    /// Nothing was recorded, because the record has changed since it was read.
    Outdated,
}

/// When a record was read.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// A moment at which the journal held exactly this record.
    pub at: Timestamp,
    /// How often the journal had been suspended before.
    pub suspensions: u64,
}

/// What the exchanges of one attempt came to.
struct Outcome {
    ending: Ending,
    /// Of the last exchange that has left.
    wire: WireRecord,
}

enum Ending {
    Read(Result<Reading, Fault>),
    /// The agency has not seen it, but until then an earlier attempt may still be on its way through the agency.
    TooEarly(Timestamp),
    /// Nothing has left, because the lease would have run out meanwhile.
    LeaseOver,
}

pub(super) async fn attempt(with: &Deliverer, of: &Arc<Record>, seen: Seen) -> Result<Attempted, JournalError> {
    let begun_at = with.clock.now();
    if begun_at >= of.submission.expires_at {
        // The scheduler ends it.
        return Ok(Attempted::Ended(HealthSignal::NoSignal));
    }
    let (connection, operation) = match operation_of(&with.connections, &of.submission) {
        Ok(found) => found,
        Err(fault) => return not_sendable(&with.recorder, of, fault).await.map(Attempted::Ended),
    };
    // An adapter that has declared another effect since does not lift the rule by which it was accepted.
    let effect = operation.effect.max(of.submission.effect);
    // Kept until the attempt ends: the mark moves on with what leaves.
    let send_guard = with.recorder.with_retry(|| with.mark_keeper.advance_before_send(effect)).await?;
    let earlier = history(with).earlier(of, effect, operation.timeout).await?;
    let job = Job { record: of, connection: &connection, operation, effect, earlier };
    let purpose = job.first_purpose();
    let order = with.fast_path.lease_order(effect, begun_at.duration_since(seen.at));

    let composed = match compose(&with.contents, &job, purpose, with.clock.now()).await {
        Ok(composed) => composed,
        Err(fault) => return not_sendable(&with.recorder, of, fault).await.map(Attempted::Ended),
    };
    let (lease, sealed) = match lease_and_seal(with, &job, purpose, order, seen.suspensions, composed).await? {
        Ready::ToSend(lease, sealed) => (lease, *sealed),
        Ready::NotSent(signal) => return Ok(Attempted::Ended(signal)),
        Ready::Outdated => return Ok(Attempted::Outdated),
    };
    if let Some(send_guard) = &send_guard {
        send_guard.leaves(of.submission.id, lease.attempt, lease.at);
    }
    let exchanged = send_and_read(with, &job, purpose, lease.until, sealed);
    let (lease, outcome) = match lease.is_recorded {
        true => (lease, exchanged.await),
        false => match with.fast_path.lease_meanwhile(lease, exchanged, |first| leased(with, &job, first)).await? {
            Some(both) => both,
            None => return Ok(Attempted::Outdated),
        },
    };
    settle_and_record(with, &job, &lease, outcome?).await.map(Attempted::Ended)
}

enum Ready {
    ToSend(Lease, Box<Sealed>),
    /// Nothing is sent, and why is recorded.
    NotSent(HealthSignal),
    /// Somebody else has it, or the record was read of a journal that was suspended since.
    Outdated,
}

/// A request that has waited longer for its lease is sealed anew.
const SEALED_FOR: SignedDuration = SignedDuration::from_secs(5);

/// The two at once where that can do no harm.
async fn lease_and_seal(
    with: &Deliverer,
    job: &Job<'_>,
    purpose: Purpose,
    order: LeaseOrder,
    suspensions: u64,
    composed: Composed,
) -> Result<Ready, JournalError> {
    // Whoever dies between the two would leave a `once` of which nobody knows whether it was sent; and to sign a large one may
    // take as long as a lease.
    let seals_first = job.effect == Effect::Once || composed.size == Size::Large;
    let unrecorded = || Lease::unrecorded(job, purpose, suspensions, with.clock.now());
    let leasing = async || leased(with, job, unrecorded()).await;
    let sealing = async {
        let sealed = seal(composed, job, with.clock.now()).await;
        failpoints::hit(Failpoint::WorkerSealed);
        (sealed, with.clock.now())
    };
    let (lease, (sealed, sealed_at)) = if order == LeaseOrder::BeforeSending && !seals_first {
        // The key works while the disk does. Whoever dies here leaves an attempt that has sent nothing, which does no harm
        // where it may be sent again, or asked about.
        let (lease, sealed) = tokio::join!(biased; leasing(), sealing);
        (lease?, sealed)
    } else {
        let (sealed, sealed_at) = sealing.await;
        let lease = match (&sealed, order) {
            (Err(fault), _) if seals_first => {
                return not_sendable(&with.recorder, job.record, fault.clone()).await.map(Ready::NotSent);
            }
            (Ok(_), LeaseOrder::WithOutcome) => Some(unrecorded()),
            _ => leasing().await?,
        };
        (lease, (sealed, sealed_at))
    };
    let Some(lease) = lease else { return Ok(Ready::Outdated) };
    let sealed = match sealed {
        // It has waited for the journal: its date is old, and the agency may have been halted meanwhile. Its memory is free
        // before more is asked for.
        Ok(old) if !(SignedDuration::ZERO..SEALED_FOR).contains(&with.clock.now().duration_since(sealed_at)) => {
            drop(old);
            compose_and_seal(with, job, purpose).await
        }
        as_before => as_before,
    };
    match sealed {
        Ok(sealed) => Ok(Ready::ToSend(lease, Box::new(sealed))),
        Err(fault) => put_back(&with.recorder, job.record, lease.attempt, fault).await.map(Ready::NotSent),
    }
}

async fn leased(with: &Deliverer, job: &Job<'_>, first: Lease) -> Result<Option<Lease>, JournalError> {
    let lease = lease(&with.recorder, job.record, first).await?;
    if lease.is_some() {
        failpoints::hit(Failpoint::WorkerBegun);
    }
    Ok(lease)
}

async fn compose_and_seal(with: &Deliverer, job: &Job<'_>, purpose: Purpose) -> Result<Sealed, Fault> {
    let composed = compose(&with.contents, job, purpose, with.clock.now()).await?;
    seal(composed, job, with.clock.now()).await
}

async fn send_and_read(
    with: &Deliverer,
    job: &Job<'_>,
    purpose: Purpose,
    lease_until: Timestamp,
    sealed: Sealed,
) -> Result<Outcome, JournalError> {
    match purpose {
        Purpose::Submit => Ok(exchange(with, job, purpose, lease_until, sealed).await),
        Purpose::Lookup => look_up_then_submit(with, job, lease_until, sealed).await,
    }
}

/// What the agency has certainly never seen is sent after the question.
async fn look_up_then_submit(
    with: &Deliverer,
    job: &Job<'_>,
    lease_until: Timestamp,
    question: Sealed,
) -> Result<Outcome, JournalError> {
    let asked_at = with.clock.now();
    let Outcome { ending, wire } = exchange(with, job, Purpose::Lookup, lease_until, question).await;
    let reading = match ending {
        Ending::Read(reading) => reading,
        ending @ (Ending::TooEarly(_) | Ending::LeaseOver) => return Ok(Outcome { ending, wire }),
    };
    let settled_at = match reading {
        Ok(Reading::NotSeen) => history(with).settled_by_any_clock(job.record, job.operation.timeout, asked_at).await?,
        _ => Timestamp::MIN,
    };
    let ending = match after_asking(reading, asked_at, settled_at) {
        Asked::NeverSeen => {
            failpoints::hit(Failpoint::WorkerAsked);
            match compose_and_seal(with, job, Purpose::Submit).await {
                Ok(sealed) => {
                    // A word about the question is none about the request.
                    let job = Job { earlier: EarlierReplies::Until(with.clock.now()), ..*job };
                    match exchange(with, &job, Purpose::Submit, lease_until, sealed).await {
                        // What has left is the question.
                        Outcome { ending: Ending::LeaseOver, .. } => Ending::LeaseOver,
                        sent => return Ok(sent),
                    }
                }
                Err(fault) => Ending::Read(Err(fault)),
            }
        }
        Asked::TooEarly(until) => Ending::TooEarly(until),
        Asked::Told(reading) => Ending::Read(reading),
    };
    Ok(Outcome { ending, wire })
}

async fn exchange(
    with: &Deliverer,
    job: &Job<'_>,
    purpose: Purpose,
    lease_until: Timestamp,
    sealed: Sealed,
) -> Outcome {
    let (submission, timeout) = (&job.record.submission, job.operation.timeout);
    // Before the lease is checked: a pause after the check shortens what is left of the exchange.
    let deadline = Instant::now() + timeout;
    let mut wire = WireRecord::default();
    if !may_leave(with.clock.now(), timeout, lease_until) {
        tracing::warn!(submission = %submission.id, "the lease ran out before it was sent");
        return Outcome { ending: Ending::LeaseOver, wire };
    }
    (wire.sent, wire.truncated) = sealed.beginning(with.wire_max_bytes);
    let sent = match exchange_of(job.connection, submission, purpose) {
        Ok((_, exchange)) => sealed.to_be_answered(exchange),
        Err(fault) => return Outcome { ending: Ending::Read(Err(fault)), wire: WireRecord::default() },
    };
    failpoints::hit(Failpoint::WorkerSending);
    let effect = purpose.effect(job.effect);
    let reading = match send(sealed, job.connection, effect, &job.operation.not_handled, deadline).await {
        Ok(incoming) => {
            failpoints::hit(Failpoint::WorkerAnswered);
            wire.http_status = Some(incoming.status);
            wire.received = incoming.body[..incoming.body.len().min(with.wire_max_bytes)].to_vec();
            wire.truncated |= incoming.body.len() > with.wire_max_bytes;
            read(incoming, sent, job, purpose, &with.catalogue, with.clock.now()).await
        }
        Err(unanswered) => {
            wire.http_status = unanswered.http_status;
            Err(unanswered.fault)
        }
    };
    job.connection.track_credential_refusals(submission, &reading);
    Outcome { ending: Ending::Read(reading), wire }
}

async fn settle_and_record(
    with: &Deliverer,
    job: &Job<'_>,
    lease: &Lease,
    outcome: Outcome,
) -> Result<HealthSignal, JournalError> {
    let (now, attempt) = (with.clock.now(), lease.attempt);
    let case = Case {
        effect: job.effect,
        attempt,
        tries: lease.tries,
        schedule: &job.connection.adapter.schedule,
        now,
        waiting_since: job.record.progress.waiting_since,
        is_halted: job.connection.halt.halted().is_some(),
        pause: pause_after_nothing_done(job.connection, job.operation, job.effect),
    };
    let (signal, event, not_before) = match outcome.ending {
        Ending::Read(reading) => (HealthSignal::of_reading(&reading), settle(reading, case), None),
        Ending::TooEarly(until) => (HealthSignal::Healthy, Event::PutBack { attempt }, Some(until)),
        // It was certainly not sent, and that it was too slow says nothing of it: it uses no try.
        Ending::LeaseOver => (HealthSignal::NoSignal, Event::PutBack { attempt }, None),
    };
    report(&with.metrics, job.record, &event, now.duration_since(lease.at));
    let end = Entry { wire: Some(outcome.wire), not_before, ..Entry::new(event, now) };
    match record(&with.recorder, job.record, lease, end).await {
        Ok(()) => Ok(signal),
        Err(error @ (JournalError::NotTaken(_) | JournalError::Corrupt(_))) => {
            record_unkept(&with.recorder, job.record, lease, case, &error).await.map(|()| HealthSignal::NoSignal)
        }
        Err(error) => Err(error),
    }
}

fn history(with: &Deliverer) -> History<'_> {
    History { recorder: &with.recorder, mark_keeper: &with.mark_keeper, clock_jumps: &with.clock_jumps }
}
