//! Repair of losses: what the journal says is queued and what the broker says it holds come in; what the broker has lost
//! goes into the outbox again.

use super::Scheduler;
use crate::{
    broker::{BrokerError, QueueDepth},
    domain::{AgencyName, StateName},
    failpoints::{self, Failpoint},
    journal::{JournalError, StateCount},
};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// By how much the clocks of machines that work together may differ.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(60);

/// Compares every agency's queue with the journal. A repeated message is harmless, because a worker takes a submission
/// only in the state `accepted` or `queued`.
pub(super) async fn compare(scheduler: &Scheduler) -> Result<(), JournalError> {
    let now = scheduler.clock.now();
    let before = now.saturating_sub(scheduler.lost_after).unwrap_or(now);
    for adapter in scheduler.adapters.iter() {
        let agency = &adapter.agency;
        after_clock_was_set_back(scheduler, agency, now).await?;
        let queued = scheduler.submissions.queued_since(agency, before).await?;
        let depth = match scheduler.broker.depth(agency).await {
            Ok(depth) => depth,
            // Whoever publishes to it makes it again.
            Err(BrokerError::Unroutable(_)) => QueueDepth::default(),
            Err(_) => continue,
        };
        scheduler.metrics.queue_depth(agency, depth.ready);
        scheduler.metrics.queue_consumers(agency, depth.consumers);
        if let Ok(dead) = scheduler.broker.dead_letter_count(agency).await {
            scheduler.metrics.dead_letters(agency, dead);
        }
        // What is in the hand of a worker of another process cannot be seen from here, and may come twice.
        let missing = missing(queued, depth.ready + scheduler.metrics.in_hand_of(agency));
        if missing > 0 {
            // Queues are first in, first out: what is lost is among the oldest. Not all of them: what a worker has fetched
            // and not begun is missing in the queue as well, and would double a long queue again and again.
            failpoints::hit(Failpoint::SchedulerCompared);
            let requeued = scheduler.submissions.requeue_lost(agency, before, missing).await?;
            failpoints::hit(Failpoint::SchedulerRepaired);
            report(agency, queued, depth.ready, requeued);
        }
    }
    let counts = scheduler.submissions.counts().await?;
    measure(scheduler, &counts);
    for count in &counts {
        if count.state == StateName::Queued && scheduler.adapters.agency(&count.agency).is_none() {
            // Nobody takes them any more: by way of the outbox they come in front of an operator.
            scheduler.submissions.requeue_lost(&count.agency, now, count.count).await?;
        }
    }
    Ok(())
}

/// How many messages the broker has lost, or holds in a worker's hand.
pub fn missing(queued: u64, ready: u64) -> u64 {
    queued.saturating_sub(ready)
}

/// A wait is measured in the clock's own time. What was planned when it was ahead is tried now.
async fn after_clock_was_set_back(
    scheduler: &Scheduler,
    agency: &AgencyName,
    now: Timestamp,
) -> Result<(), JournalError> {
    let after = now.saturating_add(CLOCKS_DIFFER).unwrap_or(now);
    let requeued = scheduler.submissions.requeue_ahead(agency, after).await?;
    if requeued > 0 {
        tracing::warn!(%agency, requeued, "the clock was set back; what waited for a time of before is tried now");
    }
    Ok(())
}

/// Every state but the last ones of every agency, so that what has become none is shown as none.
fn measure(scheduler: &Scheduler, counts: &[StateCount]) {
    let agencies: BTreeSet<&AgencyName> =
        scheduler.adapters.iter().map(|adapter| &adapter.agency).chain(counts.iter().map(|it| &it.agency)).collect();
    for agency in agencies {
        for state in StateName::ALL.into_iter().filter(|it| !it.is_terminal()) {
            let counted = counts.iter().find(|it| it.agency == *agency && it.state == state);
            scheduler.metrics.submissions_in_state(agency, state, counted.map_or(0, |it| it.count));
        }
    }
    let unconfirmed = counts.iter().filter(|it| it.state == StateName::Accepted).map(|it| it.count).sum();
    scheduler.metrics.outbox_size(unconfirmed);
}

fn report(agency: &AgencyName, queued: u64, ready: u64, requeued: u64) {
    tracing::warn!(%agency, queued, ready, requeued, "the broker holds fewer messages than the journal; publishing again");
}
