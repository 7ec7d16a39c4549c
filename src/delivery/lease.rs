//! Lease: a submission that is to be sent comes in; an attempt that is ours until its lease runs out goes out. The journal has
//! it before anything leaves that may change something at the agency.

use super::{Recorder, job::Job};
use crate::{
    adapter::Purpose,
    domain::{Event, Progress, later, whole_microseconds},
    journal::{Entry, JournalError, Record},
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// An attempt that is ours until its lease runs out.
#[derive(Clone, Copy)]
pub(super) struct Lease {
    pub attempt: u32,
    pub tries: u32,
    pub at: Timestamp,
    pub until: Timestamp,
    pub purpose: Purpose,
    /// How often the journal had been suspended when the record was read.
    pub suspensions: u64,
    /// Whether the journal knows of it.
    pub is_recorded: bool,
}

/// A lease outlasts the exchange by this, so that only a dead worker loses it.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(15);
/// No two workers' leases on one attempt end in the same microsecond, so that each knows its own.
const LEASE_SPREAD_MICROS: i64 = 1_000_000;

/// Waits for the journal if need be. Each try has a lease of its own, because the wait may outlast any lease; and a try without
/// an answer may have been recorded all the same. `None`: somebody else has the submission, or the record was read before the
/// journal was suspended, which leases nothing.
pub(super) async fn lease(recorder: &Recorder, record: &Record, first: Lease) -> Result<Option<Lease>, JournalError> {
    let length = first.until.duration_since(first.at);
    let (mut lease, mut unanswered) = (first, Vec::new());
    loop {
        if recorder.journal.continuity().suspensions() != first.suspensions {
            return Ok(None);
        }
        match recorder.submissions.begin(record.submission.id, lease.entry()).await {
            Ok(Progress { tries, .. }) => return Ok(Some(Lease { tries, is_recorded: true, ..lease })),
            Err(error) if recorder.waits_after(&error) => {
                unanswered.push(lease.until);
                recorder.pause(&error).await;
                let at = recorder.clock.now();
                lease = Lease { at, until: whole_microseconds(later(at, length)), ..lease };
            }
            Err(JournalError::Forbidden(_)) if unanswered.is_empty() => return Ok(None),
            Err(JournalError::Forbidden(_)) => return recorded_unheard(recorder, record, lease, &unanswered).await,
            Err(error) => return Err(error),
        }
    }
}

async fn recorded_unheard(
    recorder: &Recorder,
    record: &Record,
    lease: Lease,
    unanswered: &[Timestamp],
) -> Result<Option<Lease>, JournalError> {
    let (id, attempt) = (record.submission.id, lease.attempt);
    let found = recorder.with_retry(|| recorder.submissions.begun_unheard(id, attempt, unanswered)).await?;
    Ok(found.map(|(Record { progress, changed_at: at, .. }, until)| Lease {
        tries: progress.tries,
        at,
        until,
        is_recorded: true,
        ..lease
    }))
}

impl Lease {
    /// One that the journal does not know of yet.
    pub fn unrecorded(job: &Job<'_>, purpose: Purpose, suspensions: u64, at: Timestamp) -> Self {
        let Progress { attempts, tries, .. } = job.record.progress;
        let until = whole_microseconds(later(at, length(job.operation.timeout, purpose)));
        Self { attempt: attempts + 1, tries: tries + 1, at, until, purpose, suspensions, is_recorded: false }
    }

    pub fn entry(&self) -> Entry {
        let Self { attempt, until: lease_until, purpose, .. } = *self;
        let asks_first = purpose == Purpose::Lookup;
        Entry::new(Event::Begun { attempt, lease_until, asks_first }, self.at)
    }
}

/// A question may be followed by the request.
fn length(timeout: Duration, purpose: Purpose) -> SignedDuration {
    let exchange = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
    let exchanges = match purpose {
        Purpose::Submit => 1,
        Purpose::Lookup => 2,
    };
    let spread = SignedDuration::from_micros(rand::random_range(0..LEASE_SPREAD_MICROS));
    exchange.saturating_mul(exchanges).saturating_add(LEASE_MARGIN).saturating_add(spread)
}

/// Whoever wakes up after a long pause may find that others have taken it up meanwhile.
pub fn may_leave(now: Timestamp, timeout: Duration, lease_until: Timestamp) -> bool {
    let latest = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
    later(now, latest) <= lease_until
}
