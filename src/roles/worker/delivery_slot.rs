//! The slot of one delivery: whoever holds it counts as under way, and when it is dropped the consumer learns how it ended.

use super::{breaker::RequestKind, fair_queue::Owner};
use crate::{delivery::HealthSignal, domain::SubmissionId};
use tokio::sync::mpsc;

/// One delivery that is over.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub owner: Owner,
    pub submission: Option<SubmissionId>,
    pub kind: RequestKind,
    pub signal: HealthSignal,
}

/// The slot of a delivery that is under way. Its task holds it, and the consumer has it back once it is dropped, also if the
/// task panics.
pub(super) struct DeliverySlot {
    pub ended: Ended,
    pub consumer: mpsc::UnboundedSender<Ended>,
}

impl DeliverySlot {
    pub fn free(mut self, signal: HealthSignal) {
        self.ended.signal = signal;
    }
}

impl Drop for DeliverySlot {
    fn drop(&mut self) {
        // An error says that the consumer is ending.
        let _ = self.consumer.send(self.ended.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_delivery_whose_task_panics_gives_its_slot_back() {
        let (sender, mut endings) = mpsc::unbounded_channel();
        for signal in [None, Some(HealthSignal::Healthy)] {
            let ended =
                Ended { owner: None, submission: None, kind: RequestKind::Probe, signal: HealthSignal::NoSignal };
            let slot = DeliverySlot { ended: ended.clone(), consumer: sender.clone() };
            let task = tokio::spawn(async move { slot.free(signal.expect("it panics")) });
            assert_eq!(task.await.is_ok(), signal.is_some());
            let expected = Ended { signal: signal.unwrap_or(HealthSignal::NoSignal), ..ended };
            assert_eq!(endings.try_recv(), Ok(expected));
        }
    }
}
