//! One run in which submissions flow at full speed from many clients while deaths are spread over it. `tests/faults/long`
//! asks for a thousand deaths and a million submissions; otherwise it is short.

use crate::harness::{ProcessCluster, chance, shared};
use punte::failpoints::Failpoint;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

fn asked_for(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

const PROCESSES: [&[&str]; 8] =
    [&["gateway"], &["gateway"], &["worker"], &["worker"], &["worker"], &["scheduler"], &["scheduler"], &["notifier"]];

/// As fast as they can.
fn unhurried(_: &str, text: String) -> String {
    text.replace("requests_per_second = 50\n", "").replace("concurrency = 8", "concurrency = 32")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_are_spread_over_a_run_at_full_speed() {
    let (kills, submissions) = (asked_for("PUNTE_FAULTS_KILLS", 12), asked_for("PUNTE_FAULTS_SUBMISSIONS", 250));
    let mut random = chance();
    let mut cluster = ProcessCluster::started_with(&PROCESSES, shared, unhurried).await;
    cluster.post("person-lookup").await;
    let clients = cluster.open_load_clients(16, Duration::ZERO);
    for death in 0..kills {
        while clients.posted() * kills < submissions * death {
            sleep(Duration::from_millis(5)).await;
            come_back(&mut cluster);
        }
        die(&mut cluster, &mut random);
    }
    while clients.posted() < submissions {
        sleep(Duration::from_millis(10)).await;
        come_back(&mut cluster);
    }
    clients.close().await;
    cluster.behave(&Value::Null);
    (0..PROCESSES.len()).for_each(|number| disarm(&mut cluster, number));
    let figures = cluster.audit().await;
    assert!(figures.deaths() >= kills, "{figures:?}");
}

/// By `kill -9` now, or at a point before long when it comes back.
fn die(cluster: &mut ProcessCluster, random: &mut StdRng) {
    let number = random.random_range(0..PROCESSES.len());
    let role = PROCESSES[number][0];
    let points: Vec<_> = Failpoint::ALL.into_iter().filter(|it| is_of(*it, role)).collect();
    cluster.kill(number);
    let armed = points.choose(random).filter(|_| random.random_bool(0.5));
    let failpoints = armed.map(|point| format!("{}={}*off->return(kill)", point.name(), random.random_range(0..40)));
    cluster.start_armed(number, &failpoints.unwrap_or_default());
    let agency = cluster.agencies.values().nth(random.random_range(0..cluster.agencies.len())).unwrap();
    let moods = [json!({"fault": "reset-after-effect", "times": 2}), json!({"delay_ms": 50, "times": 20}), Value::Null];
    agency.behave(moods.choose(random).unwrap());
}

fn is_of(point: Failpoint, role: &str) -> bool {
    let of = point.name().split('.').next().unwrap();
    of == role || (of == "relay" && matches!(role, "scheduler" | "gateway")) || (of == "postgres" && role != "notifier")
}

/// Whoever has died at a point begins again.
fn come_back(cluster: &mut ProcessCluster) {
    for (number, roles) in PROCESSES.iter().enumerate() {
        if let Some(point) = cluster.died_at_a_point(number) {
            cluster.figures.met(&point, roles[0]);
            cluster.start(number);
        }
    }
}

/// An armed process could still die when nobody looks.
fn disarm(cluster: &mut ProcessCluster, number: usize) {
    if let Some(point) = cluster.died_at_a_point(number) {
        cluster.figures.met(&point, PROCESSES[number][0]);
    }
    cluster.kill(number);
    cluster.start(number);
}
