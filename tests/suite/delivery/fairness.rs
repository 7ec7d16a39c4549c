//! Offices among each other at one agency: what one of them sends, or how much, never keeps another's single request waiting.
//!
//! `PUNTE_FLOOD=10000 tests/run other_offices_single_request` lets 10,000 submissions of one office wait, and not 600.

use crate::environment::{CITIZEN, TestEnvironment, in_postgres, over_rabbitmq, request};
use futures_util::{StreamExt, stream};
use punte::kit::test_stack::TestStackPlan;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The registry answers for this person with a SOAP fault of its own.
const POISON: &str = "2000000000500";
const QUIET: &str = "shkoder";
const FLOODER: &str = "causeni";

async fn post(env: &TestEnvironment, client: &reqwest::Client, request: &Value, wait: u32) -> Value {
    let response = client
        .post(format!("{}/v1/submissions", env.stack.gateway()))
        .header("content-type", "application/json")
        .header("idempotency-key", uuid::Uuid::new_v4().to_string())
        .header("prefer", format!("wait={wait}"))
        .body(request.to_string())
        .send()
        .await
        .unwrap();
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// How long one request takes to its answer.
async fn time_of_one(env: &TestEnvironment, client: &reqwest::Client) -> Duration {
    let begun = Instant::now();
    let shown = post(env, client, &request("person-lookup", CITIZEN), 30).await;
    assert_eq!(shown["state"], "completed", "{shown:#}");
    begun.elapsed()
}

async fn median_of_seven(env: &TestEnvironment, client: &reqwest::Client) -> Duration {
    let mut times = Vec::new();
    for _ in 0..7 {
        times.push(time_of_one(env, client).await);
    }
    times.sort();
    times[3]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_office_whose_person_the_agency_answers_with_a_fault_keeps_no_other_office_waiting() {
    let env = TestEnvironment::started().await;
    let (flooder, quiet) = (env.stack.client(FLOODER).unwrap(), env.stack.client(QUIET).unwrap());
    let poison = request("person-lookup", POISON);
    for round in 0..4 {
        for _ in 0..4 {
            post(&env, &flooder, &poison, 0).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let took = time_of_one(&env, &quiet).await;
        assert!(took < Duration::from_secs(2), "a good request of another office took {took:?} in round {round}");
    }
    let health = env.operations("/healthz/ready").await;
    assert!(health.contains("\"circuit of civil-registry\":{\"state\":\"up\"}"), "{health}");
    env.leave().await;
}

/// Its requests meet silence, or a failure without a word: what it asks for may be the reason.
#[tokio::test(flavor = "multi_thread")]
async fn an_office_whose_requests_alone_fail_keeps_no_other_office_waiting() {
    let touchy = |_: &str, text: String| text.replace("failures = 5", "failures = 3");
    let env = TestEnvironment::with_adapters(touchy, |_| {}).await;
    let (failing, quiet) = (env.stack.client(FLOODER).unwrap(), env.stack.client(QUIET).unwrap());
    env.behave("civil-registry", json!({"fault": {"status": {"code": 500}}, "times": 4}));
    for _ in 0..4 {
        post(&env, &failing, &request("person-lookup", CITIZEN), 0).await;
    }
    let begun = Instant::now();
    while !env.operations("/healthz/ready").await.contains("\"circuit of civil-registry\":{\"state\":\"degraded\"") {
        assert!(begun.elapsed() < Duration::from_secs(5), "its own circuit does not open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    env.behave("civil-registry", Value::Null);
    let took = time_of_one(&env, &quiet).await;
    assert!(took < Duration::from_secs(1), "the circuit kept another office waiting for {took:?}");
    env.leave().await;
}

/// For this person the agency fails, or is silent, and for no other.
const UNLUCKY: &str = "2000000000123";

/// All that one office sends is waited for as long as may be, and none of it has failed yet.
#[tokio::test(flavor = "multi_thread")]
async fn an_office_whose_requests_meet_silence_leaves_a_place_for_another_before_the_first_of_them_has_failed() {
    let impatient = |_: &str, text: String| text.replace("timeout_secs = 20", "timeout_secs = 6");
    let env = TestEnvironment::with_adapters(impatient, |_| {}).await;
    let (silent, quiet) = (env.stack.client(FLOODER).unwrap(), env.stack.client(QUIET).unwrap());
    env.behave("civil-registry", json!({"delay_ms": 60_000, "about": UNLUCKY}));
    for _ in 0..16 {
        post(&env, &silent, &request("person-lookup", UNLUCKY), 0).await;
    }
    let begun = Instant::now();
    while env.simulator("civil-registry").requests() < 7 {
        assert!(begun.elapsed() < Duration::from_secs(10), "they do not get there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..3 {
        let took = time_of_one(&env, &quiet).await;
        assert!(took < Duration::from_secs(2), "a good request of another office took {took:?}");
    }
    env.leave().await;
}

/// The agency is back, but fails for all that one office has waiting, and that has waited longer.
#[tokio::test(flavor = "multi_thread")]
async fn the_probe_is_of_the_office_that_has_failed_least_though_another_waits_longer() {
    let touchy = |_: &str, text: String| {
        text.replace("failures = 5", "failures = 3").replace("cooldown_secs = 15", "cooldown_secs = 1")
    };
    let patient = |plan: &mut TestStackPlan| {
        plan.retry = "first_wait_secs = 60\nmax_wait_secs = 60\nmax_attempts = 5\n";
    };
    let env = TestEnvironment::with_adapters(touchy, patient).await;
    let (failing, quiet) = (env.stack.client(FLOODER).unwrap(), env.stack.client(QUIET).unwrap());
    env.behave("civil-registry", json!({"fault": {"status": {"code": 503}}}));
    for _ in 0..8 {
        post(&env, &failing, &request("person-lookup", UNLUCKY), 0).await;
    }
    let good = post(&env, &quiet, &request("person-lookup", CITIZEN), 0).await;
    let id = good["id"].as_str().unwrap();
    let show = async || -> Value {
        let shown = quiet.get(format!("{}/v1/submissions/{id}", env.stack.gateway())).send().await.unwrap();
        serde_json::from_slice(&shown.bytes().await.unwrap()).unwrap()
    };
    let until = async |state: &str, at_most: Duration| {
        let begun = Instant::now();
        while show().await["state"] != state {
            assert!(begun.elapsed() < at_most, "it is not {state}: {:#}", show().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    until("retrying", Duration::from_secs(10)).await;
    env.behave("civil-registry", json!({"fault": {"status": {"code": 503}}, "about": UNLUCKY}));
    until("completed", Duration::from_secs(8)).await;
    env.leave().await;
}

/// How many submissions of one office stand before the other's single request.
fn flood_size() -> usize {
    let given = std::env::var("PUNTE_FLOOD").ok();
    given.map_or(600, |text| text.parse().expect("PUNTE_FLOOD is a number of submissions"))
}

/// The figures are told, so that a run shows how far it is from the limit.
async fn a_flood_delays_nobody(priority: &str, plan: impl FnOnce(&mut TestStackPlan)) {
    let narrow = |_: &str, text: String| {
        text.replace("concurrency = 8", "concurrency = 4").replace("requests_per_second = 50\n", "")
    };
    let env = TestEnvironment::with_adapters(narrow, plan).await;
    let (flooder, quiet) = (env.stack.client(FLOODER).unwrap(), env.stack.client(QUIET).unwrap());
    env.behave("civil-registry", json!({"delay_ms": 150}));
    let without = median_of_seven(&env, &quiet).await;
    let mut flood = request("person-lookup", CITIZEN);
    flood["priority"] = json!(priority);
    let begun = Instant::now();
    let size = flood_size();
    stream::iter(0..size).for_each_concurrent(16, |_| async { drop(post(&env, &flooder, &flood, 0).await) }).await;
    let posted = begun.elapsed();
    // What else this machine does may disturb one measurement; a queue would be in the way of all of them.
    let mut with = Duration::MAX;
    for _ in 0..3 {
        with = with.min(median_of_seven(&env, &quiet).await);
        if with < without * 2 {
            break;
        }
    }
    let asked = env.simulator("civil-registry").requests();
    println!(
        "{priority}: alone {without:?}, beside {size} of another office (posted in {posted:?}, {asked} sent since) {with:?}"
    );
    assert!((asked as usize) < size, "the flood was over before");
    assert!(with < without * 2, "{with:?} in the place of {without:?}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_office_that_floods_an_agency_delays_no_other_offices_single_request() {
    a_flood_delays_nobody("ordinary", |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_office_that_calls_its_flood_urgent_delays_no_other_offices_single_request() {
    a_flood_delays_nobody("urgent", |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_office_that_floods_an_agency_over_rabbitmq_and_postgres_delays_no_other_offices_single_request() {
    a_flood_delays_nobody("ordinary", |plan| {
        over_rabbitmq(plan);
        in_postgres(plan);
    })
    .await;
}
