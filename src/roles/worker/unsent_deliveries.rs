//! What a consumer does with deliveries that it does not send: put back when it stops, or held back while the agency is away.

use crate::{
    adapter::Adapter,
    broker::{BrokerError, Delivery},
    delivery::{Deliverer, log_unknown_submission},
    domain::{Clock, Code, Fault, Forbidden, Stage, StateName, SubmissionId, later},
    failpoints::{self, Failpoint},
    journal::JournalError,
};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Deliveries whose holding back could not be recorded, and why, if the journal has failed.
#[derive(Default)]
pub(super) struct Left {
    pub deliveries: Vec<Delivery>,
    pub error: Option<JournalError>,
}

/// Lives as long as the call that needs it.
pub(super) struct UnsentDeliveries<'a> {
    pub adapter: &'a Adapter,
    pub deliverer: &'a Deliverer,
    pub clock: &'a dyn Clock,
}

impl UnsentDeliveries<'_> {
    /// Into the journal's outbox, so that the stop costs no message a redelivery.
    pub(super) async fn put_back(&self, deliveries: Vec<Delivery>) {
        join_all(deliveries.into_iter().map(|delivery| self.put_one_back(delivery))).await;
    }

    async fn put_one_back(&self, delivery: Delivery) {
        let Ok(item) = &delivery.item else { return };
        let recorded = self.deliverer.recorder.submissions.give_back(item.submission, None).await;
        failpoints::hit(Failpoint::WorkerPutBack);
        match recorded {
            // A message that came twice may speak of something that waits for its retry, and a retry keeps its time.
            Ok(_) | Err(JournalError::Forbidden(_)) => settled(delivery.settle.ack().await),
            Err(error) => tracing::warn!(submission = %item.submission, %error, "left to the broker"),
        }
    }

    /// Held back until the agency is there again, or until the submission's own time comes.
    pub(super) async fn hold_back(&self, deliveries: Vec<Delivery>, since: Timestamp) -> Left {
        let held = join_all(deliveries.into_iter().map(|delivery| self.hold_one_back(delivery, since))).await;
        let mut left = Left::default();
        for (delivery, error) in held.into_iter().flatten() {
            left.deliveries.push(delivery);
            left.error = left.error.or(error);
        }
        left
    }

    async fn hold_one_back(&self, delivery: Delivery, since: Timestamp) -> Option<(Delivery, Option<JournalError>)> {
        let Ok(item) = &delivery.item else { return None };
        // Its message was quicker than the journal, which will know of it before long.
        if self.deliverer.fast_path.is_coming(item.submission) {
            return Some((delivery, None));
        }
        match self.held_back(item.submission, since).await {
            // The journal will know of the broker's confirm before long.
            Err(JournalError::Forbidden(Forbidden { state: StateName::Accepted, .. })) => {
                return Some((delivery, None));
            }
            Ok(()) | Err(JournalError::Forbidden(_)) => {}
            Err(JournalError::NotFound(_)) => log_unknown_submission(item),
            Err(error) => return Some((delivery, Some(error))),
        }
        failpoints::hit(Failpoint::WorkerPutBack);
        settled(delivery.settle.ack().await);
        None
    }

    async fn held_back(&self, id: SubmissionId, since: Timestamp) -> Result<(), JournalError> {
        let record = self.deliverer.recorder.submissions.find(id).await?.ok_or(JournalError::NotFound(id))?;
        let now = self.clock.now();
        let since = record.progress.waiting_since.unwrap_or(since).min(now);
        let waited = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        let wait = SignedDuration::try_from(self.adapter.schedule.wait_while_away(waited, None));
        let due_at = later(now, wait.unwrap_or(SignedDuration::MAX));
        let fault = Fault::new(Code::AgencyAway, Stage::Send, "its circuit is open; this one was not sent");
        self.deliverer.recorder.submissions.hold_back(id, due_at, since, fault).await.map(drop)
    }
}

pub(super) fn settled(result: Result<(), BrokerError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a settlement did not reach the broker; it delivers the message again, harmlessly");
    }
}
