//! Processes are killed and frozen at random moments while offices post and agencies have bad days: nothing accepted is
//! lost, nothing is done twice that must not be, and nothing stays silent.

use crate::harness::{ALL, ProcessCluster, chance, over_rabbitmq, shared};
use rand::{Rng, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How long processes are killed. A longer soak is asked for by `PUNTE_SOAK_SECS`.
fn trouble() -> Duration {
    let secs = std::env::var("PUNTE_SOAK_SECS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(secs.unwrap_or(8))
}

/// What an agency does on a bad day.
fn mood(random: &mut StdRng) -> Value {
    let moods = [
        json!(null),
        json!({"fault": "reset-after-effect", "times": 1}),
        json!({"fault": "reset-before-effect", "times": 1}),
        json!({"fault": {"status": {"code": 503}}, "times": 2}),
        json!({"fault": {"status": {"code": 500, "after_effect": true}}, "times": 1}),
        json!({"fault": "answer-twice", "times": 2}),
        json!({"delay_ms": 300}),
        json!({"answer_delay_ms": 300}),
        json!({"delay_ms": 3200, "times": 1}),
        json!({"answer_delay_ms": 3200, "times": 1}),
    ];
    moods[random.random_range(0..moods.len())].clone()
}

/// Kills one process after the other while offices post, then lets everything come to its end.
async fn survives(mut cluster: ProcessCluster) {
    let mut random = chance();
    cluster.post("person-lookup").await;
    let clients = cluster.open_load_clients(3, Duration::from_millis(20));
    let (begun, mut frozen) = (Instant::now(), BTreeMap::new());
    while begun.elapsed() < trouble() {
        for agency in cluster.agencies.values() {
            agency.behave(&mood(&mut random));
        }
        sleep(Duration::from_millis(random.random_range(50..400))).await;
        let number = random.random_range(0..cluster.processes.len());
        if cluster.processes.len() > 1 && frozen.len() < 2 && random.random_bool(0.2) {
            // For longer than a lease in a long soak alone: at the end of the trouble all are thawed.
            cluster.signal(number, "STOP");
            let thawed_at = Instant::now() + Duration::from_millis(random.random_range(500..25_000));
            frozen.entry(number).or_insert(thawed_at);
            continue;
        }
        thaw(&mut cluster, &mut frozen, |other, at| other == number || Instant::now() >= at);
        cluster.kill(number);
        sleep(Duration::from_millis(random.random_range(0..200))).await;
        cluster.start(number);
        if cluster.processes.len() == 1 {
            // It has to come up, or there is nothing to kill.
            cluster.post("person-lookup").await;
        }
    }
    thaw(&mut cluster, &mut frozen, |_, _| true);
    clients.close().await;
    cluster.behave(&Value::Null);
    let figures = cluster.audit().await;
    assert!(figures.deaths() >= 3, "hardly anything was killed: {figures:?}");
}

fn thaw(cluster: &mut ProcessCluster, frozen: &mut BTreeMap<usize, Instant>, is_over: impl Fn(usize, Instant) -> bool) {
    frozen.retain(|number, thawed_at| {
        let stays = !is_over(*number, *thawed_at);
        if !stays {
            cluster.signal(*number, "CONT");
        }
        stays
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_is_killed_again_and_again() {
    survives(ProcessCluster::build(&[ALL], |_| {}).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_over_rabbitmq_is_killed_again_and_again() {
    survives(ProcessCluster::build(&[ALL], over_rabbitmq).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_postgres_and_rabbitmq_are_killed_in_turn() {
    let processes: [&[&str]; 7] =
        [&["gateway"], &["gateway"], &["worker"], &["worker"], &["scheduler"], &["scheduler"], &["notifier"]];
    let cluster = ProcessCluster::build(&processes, shared);
    survives(cluster.await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_handles_are_back_where_they_were_after_a_bad_day() {
    let mut cluster = ProcessCluster::build(&[ALL], over_rabbitmq).await;
    cluster.warm_up().await;
    let mut random = chance();
    let clients = cluster.open_load_clients(3, Duration::from_millis(5));
    for _ in 0..10 {
        for agency in cluster.agencies.values() {
            agency.behave(&mood(&mut random));
        }
        sleep(Duration::from_millis(400)).await;
    }
    clients.close().await;
    cluster.behave(&Value::Null);
    cluster.audit().await;
}
