//! Nothing can be sent of a submission: what can be mended by itself waits, everything else goes in front of an operator.

use super::{HealthSignal, Recorder};
use crate::{
    domain::{Event, Fault, Verdict, later},
    journal::{Entry, JournalError, Record},
};
use jiff::SignedDuration;

/// How long something waits that cannot be sent for want of a usable key.
const KEY_WAIT: SignedDuration = SignedDuration::from_secs(60);

/// It was not begun.
pub(super) async fn not_sendable(
    recorder: &Recorder,
    record: &Record,
    fault: Fault,
) -> Result<HealthSignal, JournalError> {
    tracing::warn!(submission = %record.submission.id, agency = %record.submission.agency, %fault, "cannot be sent");
    let (id, not_before) = (record.submission.id, later(recorder.clock.now(), key_wait(&fault)));
    let recorded = match unsendable(fault) {
        Event::Parked { fault } => recorder.with_retry(|| recorder.submissions.park(id, fault.clone())).await,
        _ => recorder.with_retry(|| recorder.submissions.give_back(id, Some(not_before))).await,
    };
    match recorded {
        Ok(_) | Err(JournalError::Forbidden(_)) => Ok(HealthSignal::NoSignal),
        Err(error) => Err(error),
    }
}

/// It was begun, and is not to be sent after all.
pub(super) async fn put_back(
    recorder: &Recorder,
    record: &Record,
    attempt: u32,
    fault: Fault,
) -> Result<HealthSignal, JournalError> {
    let now = recorder.clock.now();
    let entry = Entry { not_before: Some(later(now, key_wait(&fault))), ..Entry::new(Event::PutBack { attempt }, now) };
    match recorder.with_retry(|| recorder.submissions.end_unsent(record.submission.id, entry.clone())).await {
        Ok(_) if matches!(unsendable(fault.clone()), Event::GivenBack) => Ok(HealthSignal::NoSignal),
        Ok(_) => not_sendable(recorder, record, fault).await,
        Err(JournalError::Forbidden(_)) => Ok(HealthSignal::NoSignal),
        Err(error) => Err(error),
    }
}

/// How long it takes at least until a key may be usable.
fn key_wait(fault: &Fault) -> SignedDuration {
    fault.retry_after.and_then(|wait| SignedDuration::try_from(wait).ok()).unwrap_or(KEY_WAIT)
}

/// What becomes of a submission of which nothing could be sent.
pub fn unsendable(fault: Fault) -> Event {
    match fault.verdict {
        Verdict::Retry => Event::GivenBack,
        Verdict::DoNotRetry | Verdict::Unknown | Verdict::DoNotRetryInDoubt => Event::Parked { fault },
    }
}
