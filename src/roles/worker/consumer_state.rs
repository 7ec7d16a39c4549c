//! What changes while an agency's consumer runs, and by which it chooses who goes next.

use super::{
    Breaker, Circuit, FairQueue,
    breaker::RequestKind,
    delivery_slot::Ended,
    fair_queue::{Owner, Standing},
    rate::Rate,
    slow_start::SlowStart,
};
use crate::{adapter::Adapter, broker::Delivery};
use jiff::Timestamp;
use std::time::Duration;
use tokio::{sync::mpsc, time::Instant};

/// The pause after a failure of broker or journal. It is also the longest sleep, because the wall clock may jump.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// All that changes while a consumer runs. Its own task holds it, and nobody else.
pub(super) struct ConsumerState {
    /// What the broker has delivered and is not under way. It is put back when the consumer ends.
    pub queue: FairQueue,
    /// Whether submissions are sent, after failures.
    pub breaker: Breaker,
    /// How many requests a second the agency takes.
    pub rate: Rate,
    /// How many may be under way at once, fewer after an outage.
    pub slow_start: SlowStart,
    /// How many are under way. Each counts until its slot is free.
    pub busy: u32,
    /// A submission that is the probe, or the health check before it.
    pub is_probe_under_way: bool,
    /// Whether the half-open circuit's health check has succeeded, or none is declared.
    pub is_found_healthy: bool,
    /// The probe that was woken in the journal and comes through the broker.
    pub awaited_probe: Option<AwaitedProbe>,
    /// When what could not be held back yet is tried again.
    pub hold_again_at: Option<Instant>,
    /// Where the slots of deliveries under way tell of their end.
    pub ended: mpsc::UnboundedSender<Ended>,
}

/// What comes through the broker to be the probe.
#[derive(Clone, Copy)]
pub(super) struct AwaitedProbe {
    /// Of its office.
    pub failures: usize,
    /// It is not waited for longer: another worker may have got it.
    pub until: Instant,
}

impl ConsumerState {
    pub fn beginning(adapter: &Adapter, now: Timestamp, ended: mpsc::UnboundedSender<Ended>) -> Self {
        Self {
            queue: FairQueue::default(),
            breaker: Breaker::new(adapter.breaker),
            rate: Rate::new(adapter.limits.requests_per_second, Instant::now()),
            slow_start: SlowStart::beginning(adapter.limits.concurrency.get(), now),
            busy: 0,
            is_probe_under_way: false,
            is_found_healthy: false,
            awaited_probe: None,
            hold_again_at: None,
            ended,
        }
    }

    /// The next that may go, and what for.
    pub fn next(&mut self) -> Option<(Owner, Delivery, RequestKind)> {
        let (breaker, slots, is_probe_under_way) = (&self.breaker, self.slow_start.slots(), self.is_probe_under_way);
        let awaited = self.awaited_probe.filter(|awaited| Instant::now() < awaited.until);
        let is_no_worse = |failures: &usize| awaited.is_none_or(|awaited| *failures <= awaited.failures);
        let rank = |owner: &Owner, standing: Standing| match breaker.circuit() {
            Circuit::Open { whose, .. } if whose.covers(owner) => None,
            // The probe is of whoever has failed least, also if it is still on its way.
            Circuit::HalfOpen { whose } if whose.covers(owner) => {
                (!is_probe_under_way).then(|| breaker.failures_of(owner)).filter(is_no_worse)
            }
            _ => (standing.under_way < share(slots, standing)).then_some(0),
        };
        let (owner, delivery) = self.queue.next(rank)?;
        let is_probe = matches!(self.breaker.circuit(), Circuit::HalfOpen { whose } if whose.covers(&owner));
        Some((owner, delivery, if is_probe { RequestKind::Probe } else { RequestKind::Ordinary }))
    }

    /// Whether nothing in the queue may be the probe that is of an office which has not failed.
    pub fn wants_probe(&self) -> bool {
        let Circuit::HalfOpen { whose } = self.breaker.circuit() else { return false };
        let is_good = |owner: &Owner| whose.covers(owner) && self.breaker.failures_of(owner) == 0;
        !self.is_probe_under_way && !self.queue.has(is_good)
    }

    pub fn rest(&self, now: Timestamp) -> Duration {
        let circuit = match self.breaker.circuit() {
            Circuit::Open { until, .. } => {
                let again = self.hold_again_at.map_or(PAUSE, |again| again.saturating_duration_since(Instant::now()));
                Duration::try_from(until.duration_since(now)).unwrap_or_default().min(again)
            }
            Circuit::Closed | Circuit::HalfOpen { .. } => PAUSE,
        };
        circuit.min(self.slow_start.rest()).min(PAUSE)
    }
}

/// How many slots one office may have. One whose requests meet nothing but silence or failures soon has a single one: what it
/// asks may be the reason, and every slot that it takes would be taken for long. Before its first time-out nobody knows, so
/// that the last of many slots is nobody's who has all others. To an office alone this costs a quarter of what the agency
/// bears at the most; of fewer slots it would be too much.
fn share(slots: u32, standing: Standing) -> u32 {
    let most = if slots < MANY_SLOTS { slots } else { slots - 1 };
    most.min(slots.checked_shr(standing.failures).unwrap_or(0)).max(1)
}

const MANY_SLOTS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_office_never_has_all_of_many_slots_and_one_that_fails_soon_has_a_single_one() {
        let of = |slots, failures| share(slots, Standing { under_way: 0, failures });
        assert_eq!([1, 2, 3, 4, 8, 1000].map(|slots| of(slots, 0)), [1, 2, 3, 3, 7, 999]);
        assert_eq!([0, 1, 2, 3, 4, 99].map(|failures| of(8, failures)), [7, 4, 2, 1, 1, 1]);
    }
}
