//! Processes are killed and frozen at random moments while offices post and agencies have bad days: nothing accepted is
//! lost, nothing is done twice that must not be, and nothing stays silent.

use crate::harness::{ALL, House, chance, over_rabbitmq, shared};
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
async fn survives(mut house: House) {
    let mut random = chance();
    house.post("person-lookup").await;
    let counters = house.open_counters(3, Duration::from_millis(20));
    let (begun, mut frozen) = (Instant::now(), BTreeMap::new());
    while begun.elapsed() < trouble() {
        for agency in house.agencies.values() {
            agency.behave(&mood(&mut random));
        }
        sleep(Duration::from_millis(random.random_range(50..400))).await;
        let number = random.random_range(0..house.processes.len());
        if house.processes.len() > 1 && frozen.len() < 2 && random.random_bool(0.2) {
            // For longer than a lease in a long soak alone: at the end of the trouble all are thawed.
            house.signal(number, "STOP");
            let thawed_at = Instant::now() + Duration::from_millis(random.random_range(500..25_000));
            frozen.entry(number).or_insert(thawed_at);
            continue;
        }
        thaw(&mut house, &mut frozen, |other, at| other == number || Instant::now() >= at);
        house.kill(number);
        sleep(Duration::from_millis(random.random_range(0..200))).await;
        house.start(number);
        if house.processes.len() == 1 {
            // It has to come up, or there is nothing to kill.
            house.post("person-lookup").await;
        }
    }
    thaw(&mut house, &mut frozen, |_, _| true);
    counters.close().await;
    house.behave(&Value::Null);
    let figures = house.audit().await;
    assert!(figures.deaths() >= 3, "hardly anything was killed: {figures:?}");
}

fn thaw(house: &mut House, frozen: &mut BTreeMap<usize, Instant>, is_over: impl Fn(usize, Instant) -> bool) {
    frozen.retain(|number, thawed_at| {
        let stays = !is_over(*number, *thawed_at);
        if !stays {
            house.signal(*number, "CONT");
        }
        stays
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_is_killed_again_and_again() {
    survives(House::build(&[ALL], |_| {}).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_over_rabbitmq_is_killed_again_and_again() {
    survives(House::build(&[ALL], over_rabbitmq).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_postgres_and_rabbitmq_are_killed_in_turn() {
    let processes: [&[&str]; 7] =
        [&["gateway"], &["gateway"], &["worker"], &["worker"], &["scheduler"], &["scheduler"], &["courier"]];
    let house = House::build(&processes, shared);
    survives(house.await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_handles_are_back_where_they_were_after_a_bad_day() {
    let mut house = House::build(&[ALL], over_rabbitmq).await;
    house.warm_up().await;
    let mut random = chance();
    let counters = house.open_counters(3, Duration::from_millis(5));
    for _ in 0..10 {
        for agency in house.agencies.values() {
            agency.behave(&mood(&mut random));
        }
        sleep(Duration::from_millis(400)).await;
    }
    counters.close().await;
    house.behave(&Value::Null);
    house.audit().await;
}
