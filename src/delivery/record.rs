//! Record: the end of an attempt comes in; once the journal has it, or shows why it does not take it, that goes out.

use super::{Case, Recorder, lease::Lease, settle};
use crate::{
    domain::{Code, Fault, Stage, Submission, Verdict},
    failpoints::{self, Failpoint},
    journal::{Entry, JournalError, Record},
    submissions::Fate,
};

pub(super) async fn record(
    recorder: &Recorder,
    record: &Record,
    lease: &Lease,
    end: Entry,
) -> Result<(), JournalError> {
    failpoints::hit(Failpoint::WorkerSettled);
    end_attempt(recorder, record, lease, end).await
}

/// What came of the attempt cannot be recorded as it is, however often that is tried: an operator sees why, and its
/// slot is free for others.
pub(super) async fn record_unkept(
    recorder: &Recorder,
    record: &Record,
    lease: &Lease,
    case: Case<'_>,
    error: &JournalError,
) -> Result<(), JournalError> {
    let id = record.submission.id;
    tracing::error!(submission = %id, %error, "what came of an attempt cannot be recorded; an operator has to decide");
    let fault = Fault::new(Code::AnswerMappingFailed, Stage::Settle, format!("its outcome cannot be kept: {error}"));
    let event = settle(Err(Fault { verdict: Verdict::DoNotRetryInDoubt, ..fault }), case);
    end_attempt(recorder, record, lease, Entry::new(event, case.now)).await
}

/// Together with its beginning, if that is not recorded yet.
async fn end_attempt(recorder: &Recorder, record: &Record, lease: &Lease, end: Entry) -> Result<(), JournalError> {
    let entries = if lease.is_recorded { vec![end] } else { vec![lease.entry(), end] };
    let recorded = recorder.with_retry(|| recorder.submissions.end(record, entries.clone())).await;
    failpoints::hit(Failpoint::WorkerRecorded);
    match recorded {
        Err(error) if is_too_late(&error, lease) => {
            too_late(recorder, &record.submission, lease, &entries, &error).await
        }
        recorded => recorded,
    }
}

/// The submission has moved on without the attempt, or is not even there any more, though the journal has recorded that the
/// attempt was begun.
fn is_too_late(error: &JournalError, lease: &Lease) -> bool {
    match error {
        JournalError::Forbidden(_) => true,
        JournalError::NotFound(_) => lease.is_recorded,
        _ => false,
    }
}

/// The journal does not take the end of an attempt, and shows why.
async fn too_late(
    recorder: &Recorder,
    submission: &Submission,
    lease: &Lease,
    entries: &[Entry],
    error: &JournalError,
) -> Result<(), JournalError> {
    let (id, attempt) = (submission.id, lease.attempt);
    match recorder.with_retry(|| recorder.submissions.fate(submission, attempt, lease.at, entries)).await? {
        // A try without an answer has recorded it all the same.
        Fate::Ended => {}
        // Of a read that another worker has taken up, or that has changed since, nothing is lost.
        _ if !lease.is_recorded => {
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
            recorder.with_retry(|| recorder.journal.mark()).await?;
        }
    }
    Ok(())
}
