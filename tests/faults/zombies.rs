//! A worker is frozen for longer than its lease and every time-out, and goes on as if nothing had happened: it neither
//! sends nor settles what others have decided meanwhile. A relay publishes late, and nobody takes it up.

use crate::harness::{ProcessCluster, agency::Agency, shared};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

const OTHERS: usize = 0;
const ZOMBIE: usize = 1;
const SUCCESSOR: usize = 2;

/// A worker that froze at the point with a lookup or a `once` in its hands; others have brought everything to its end.
async fn frozen_at(point: &str) -> ProcessCluster {
    let processes: [&[&str]; 3] = [&["gateway", "scheduler", "notifier"], &["worker"], &["worker"]];
    let mut cluster = ProcessCluster::empty(&processes, shared, |_, text| text).await;
    cluster.start(OTHERS);
    cluster.start_armed(ZOMBIE, &format!("{point}=1*return(freeze)"));
    for service in ["legal-event", "certified-extract", "civil-status-extract"].repeat(2) {
        cluster.post(service).await;
    }
    cluster.processes[ZOMBIE].until_frozen().await;
    assert!(cluster.processes[ZOMBIE].has_met(point));
    cluster.figures.frozen("worker");
    cluster.start(SUCCESSOR);
    let journal = cluster.evidence().await;
    assert!(journal.seen.iter().all(|it| it.progress.state.name().is_settled()), "the successor has not done its work");
    cluster
}

fn requests(cluster: &ProcessCluster) -> usize {
    cluster.agencies.values().map(|agency: &Agency| agency.arrivals().len()).sum()
}

/// What had left before is all that may have come: what else the consumer had in hand is over, too.
async fn sends_nothing_any_more(mut cluster: ProcessCluster) {
    let before = requests(&cluster);
    cluster.signal(ZOMBIE, "CONT");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(requests(&cluster), before, "the zombie has sent");
    cluster.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_wakes_up_after_its_last_look_at_the_lease_sends_nothing() {
    sends_nothing_any_more(frozen_at("worker.sending").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_wakes_up_before_it_looks_at_the_lease_sends_nothing() {
    sends_nothing_any_more(frozen_at("worker.begun").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_wakes_up_with_an_old_answer_changes_nothing_that_has_ended() {
    let mut cluster = frozen_at("worker.answered").await;
    let ends = |evidence: &crate::harness::checker::Evidence| {
        let ended = evidence.seen.iter().filter(|it| it.progress.state.name().is_terminal());
        ended.map(|it| (it.id.clone(), it.timeline.clone())).collect::<Vec<_>>()
    };
    let before = ends(&cluster.evidence().await);
    cluster.signal(ZOMBIE, "CONT");
    sleep(Duration::from_secs(4)).await;
    let after = ends(&cluster.evidence().await);
    // Only an `uncertain` one may still be cleared up by it.
    for (id, timeline) in before {
        assert!(after.contains(&(id.clone(), timeline)), "{id} has ended and was changed");
    }
    cluster.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_relay_publishes_after_its_claim_has_run_out_is_done_once() {
    let processes: [&[&str]; 3] = [&["gateway", "worker", "notifier"], &["scheduler"], &["scheduler"]];
    let mut cluster = ProcessCluster::empty(&processes, shared, |_, text| text).await;
    cluster.start(OTHERS);
    cluster.start_armed(ZOMBIE, "relay.claimed=1*return(freeze)");
    // The gateway publishes what it accepts; what is tried again is the relay's.
    cluster.behave(&json!({"fault": {"status": {"code": 503}}, "times": 2}));
    for service in ["legal-event", "civil-status-extract"].repeat(2) {
        cluster.post(service).await;
    }
    cluster.processes[ZOMBIE].until_frozen().await;
    assert!(cluster.processes[ZOMBIE].has_met("relay.claimed"));
    cluster.figures.frozen("scheduler");
    cluster.start(SUCCESSOR);
    let journal = cluster.evidence().await;
    assert!(journal.seen.iter().all(|it| it.progress.state.name().is_settled()), "the successor has not done its work");
    let before = requests(&cluster);
    cluster.signal(ZOMBIE, "CONT");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(requests(&cluster), before, "what was published late was sent");
    cluster.audit().await;
}
