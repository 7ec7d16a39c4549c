//! A message of the queue comes in; its submission is looked up and attempted, and what the broker may do with the message goes
//! out.

use super::{
    Deliverer, HealthSignal, Taken,
    attempt::{Attempted, Seen, attempt},
    unsent::not_sendable,
};
use crate::{
    broker::WorkItem,
    domain::{AgencyName, Code, Fault, Stage, StateName},
    failpoints::{self, Failpoint},
    journal::{JournalError, Record},
};
use futures_util::FutureExt;
use std::{panic::AssertUnwindSafe, sync::Arc};

/// What the broker may do with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The journal knows all there is to know: the message may go.
    Done(HealthSignal),
    /// The journal could not be written: the message must come again.
    NotRecorded,
}

pub async fn deliver(with: &Deliverer, agency: &AgencyName, item: &WorkItem) -> Delivered {
    match with.fast_path.take(item.submission).await {
        Taken::Accepted(record) => {
            // It may have been accepted before the journal was suspended for the first time.
            let seen = Seen { at: record.submission.accepted_at, suspensions: 0 };
            if let Some(delivered) = attempt_or_tell(with, item, &record, seen).await {
                return delivered;
            }
        }
        Taken::NeverAccepted => {
            tracing::debug!(submission = %item.submission, %agency, "it was not accepted; dropped");
            return Delivered::Done(HealthSignal::NoSignal);
        }
        Taken::Unknown => {}
    }
    loop {
        let suspensions = with.recorder.journal.continuity().suspensions();
        let delivered = deliver_as_read(with, item, Seen { at: with.clock.now(), suspensions }).await;
        // What was read of a journal that was suspended since says nothing of the one that goes on.
        if delivered.is_some() || suspensions == with.recorder.journal.continuity().suspensions() {
            return delivered.unwrap_or(Delivered::Done(HealthSignal::NoSignal));
        }
    }
}

/// `None`: the record has changed since it was read.
async fn deliver_as_read(with: &Deliverer, item: &WorkItem, seen: Seen) -> Option<Delivered> {
    let found = match with.recorder.with_retry(|| with.recorder.submissions.find(item.submission)).await {
        Ok(found) => found,
        Err(error) => return Some(unrecorded(item, &error)),
    };
    let Some(record) = found else {
        log_unknown_submission(item);
        return Some(Delivered::Done(HealthSignal::NoSignal));
    };
    if !is_to_do(record.progress.state.name()) {
        tracing::debug!(submission = %item.submission, state = %record.progress.state.name(), "already taken up");
        return Some(Delivered::Done(HealthSignal::NoSignal));
    }
    attempt_or_tell(with, item, &Arc::new(record), seen).await
}

/// A step that panics parks its own submission, and harms no other. `None`: the record has changed since it was read.
async fn attempt_or_tell(with: &Deliverer, item: &WorkItem, record: &Arc<Record>, seen: Seen) -> Option<Delivered> {
    failpoints::hit(Failpoint::WorkerDelivered);
    match AssertUnwindSafe(attempt(with, record, seen)).catch_unwind().await {
        Ok(Ok(Attempted::Ended(signal))) => Some(Delivered::Done(signal)),
        Ok(Ok(Attempted::Outdated)) => None,
        Ok(Err(error)) => Some(unrecorded(item, &error)),
        Err(_) => Some(after_panic(with, record).await),
    }
}

async fn after_panic(with: &Deliverer, record: &Record) -> Delivered {
    let fault = Fault::new(Code::Internal, Stage::Transform, "a step of the delivery failed inside");
    match not_sendable(&with.recorder, record, fault).await {
        Ok(signal) => Delivered::Done(signal),
        Err(_) => Delivered::NotRecorded,
    }
}

/// Only these are sent; a message about any other says nothing new.
pub fn is_to_do(state: StateName) -> bool {
    matches!(state, StateName::Accepted | StateName::Queued)
}

pub fn log_unknown_submission(item: &WorkItem) {
    let text = "the journal knows no such submission; dropped. A process may have died while it accepted it";
    tracing::warn!(submission = %item.submission, agency = %item.agency, "{text}; or the journal is older than the queue");
}

fn unrecorded(item: &WorkItem, error: &JournalError) -> Delivered {
    tracing::error!(submission = %item.submission, %error, "the journal could not be used; the message will come again");
    Delivered::NotRecorded
}
