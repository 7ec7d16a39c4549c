//! Processes are killed at random moments while offices post: nothing accepted is lost, nothing is done twice that must
//! not be, and nothing stays silent.

use crate::house::House;
use punte::roles::stage::StagePlan;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::time::sleep;

const ALL: &[&str] = &[];

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/run"))
}

pub fn over_rabbitmq(plan: &mut StagePlan) {
    let prefix = format!("crash-{}", uuid::Uuid::new_v4().simple());
    plan.rabbitmq = Some((variable("PUNTE_TEST_AMQP_URL"), prefix));
}

pub fn in_postgres(plan: &mut StagePlan) {
    let url = variable("PUNTE_TEST_POSTGRES_URL");
    let separator = if url.contains('?') { '&' } else { '?' };
    plan.journal_url = Some(format!("{url}{separator}search_path=crash_{}", uuid::Uuid::new_v4().simple()));
}

/// How long processes are killed. A longer soak is asked for by `PUNTE_SOAK_SECS`.
fn trouble() -> Duration {
    let secs = std::env::var("PUNTE_SOAK_SECS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(secs.unwrap_or(6))
}

fn seed() -> u64 {
    let given = std::env::var("PUNTE_SOAK_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("PUNTE_SOAK_SEED={seed}");
    seed
}

/// What an agency does on a bad day.
fn mood(random: &mut StdRng) -> Value {
    let moods = [
        json!(null),
        json!({"fault": "reset-after-effect", "times": 1}),
        json!({"fault": "reset-before-effect", "times": 1}),
        json!({"fault": {"status": {"code": 503}}, "times": 2}),
        json!({"fault": {"status": {"code": 500, "after_effect": true}}, "times": 1}),
        json!({"delay_ms": 300}),
        json!({"delay_ms": 3200, "times": 1}),
    ];
    moods[random.random_range(0..moods.len())].clone()
}

/// Kills one process after the other while offices post, then lets everything come to its end.
async fn survives(mut house: House) {
    let mut random = StdRng::seed_from_u64(seed());
    house.post("person-lookup").await;
    let counters = house.open_counters(2, Duration::from_millis(30));
    let (begun, mut kills, mut frozen) = (Instant::now(), 0, BTreeMap::new());
    while begun.elapsed() < trouble() {
        for simulator in house.stage.simulators.values() {
            simulator.behave(mood(&mut random)).unwrap();
        }
        sleep(Duration::from_millis(random.random_range(100..900))).await;
        let number = random.random_range(0..house.processes());
        if house.processes() > 1 && frozen.len() < 2 && random.random_bool(0.25) {
            // Sometimes for longer than a lease.
            house.signal(number, "STOP");
            let thawed_at = Instant::now() + Duration::from_millis(random.random_range(500..25_000));
            frozen.entry(number).or_insert(thawed_at);
            continue;
        }
        frozen.retain(|frozen, thawed_at| {
            let stays = Instant::now() < *thawed_at && *frozen != number;
            if !stays {
                house.signal(*frozen, "CONT");
            }
            stays
        });
        house.kill(number);
        kills += 1;
        sleep(Duration::from_millis(random.random_range(0..300))).await;
        house.start(number);
        if house.processes() == 1 {
            // It has to come up, or there is nothing to kill.
            house.post("person-lookup").await;
        }
    }
    frozen.keys().for_each(|number| house.signal(*number, "CONT"));
    counters.close().await;
    house.behave(&Value::Null);
    let audit = house.audit().await;
    println!("{kills} kills, {audit:?}, {:?}", begun.elapsed());
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
    let processes: [&[&str]; 6] =
        [&["gateway"], &["worker"], &["worker"], &["scheduler"], &["scheduler"], &["courier"]];
    let house = House::build(&processes, |plan| {
        over_rabbitmq(plan);
        in_postgres(plan);
    });
    survives(house.await).await;
}
