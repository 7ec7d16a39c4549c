//! An agency is away for a while: what waits for it waits until it is back, is parked by nobody, and goes out at the
//! agency's own pace, each once.
//!
//! `PUNTE_OUTAGE_SECS=600 tests/run an_outage` plays the outages at full length, with the schedules that the adapters have.

use crate::environment::{CITIZEN, TestEnvironment, request};
use punte::{
    domain::AgencyName,
    kit::{
        simulator::{Simulator, SimulatorPlan},
        test_stack::TestStackPlan,
    },
};
use serde_json::{Value, json};
use std::{
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// In which way the agencies are away.
#[derive(Clone, Copy, PartialEq)]
enum Outage {
    NobodyListens,
    NobodyShakesHands,
    Says(u16),
    ShowsAPage,
    IsSilent,
}

const AGENCIES: [&str; 2] = ["civil-registry", "legal-events"];
const OFFICES: [&str; 2] = ["causeni", "shkoder"];
const SERVICES: [&str; 3] = ["person-lookup", "civil-status-extract", "legal-event"];
/// After the outage, per request: so that the pace can be seen.
const ANSWER_MS: u64 = 150;

fn long() -> Option<Duration> {
    let secs = std::env::var("PUNTE_OUTAGE_SECS").ok()?.parse().ok()?;
    Some(Duration::from_secs(secs))
}

fn shortened(_: &str, text: String) -> String {
    let text = text.replace("deadline_secs = 3600", "deadline_secs = 86400");
    if long().is_some() {
        return text;
    }
    text.replace("cooldown_secs = 15", "cooldown_secs = 1")
        .replace("connect_timeout_secs = 5", "connect_timeout_secs = 0.5")
        .replace("timeout_secs = 20", "timeout_secs = 1")
        .replace("timeout_secs = 30", "timeout_secs = 1")
}

fn schedule(plan: &mut TestStackPlan) {
    plan.retry = match long() {
        Some(_) => "first_wait_secs = 2\nmax_wait_secs = 600\nmax_attempts = 8\njitter = 0.2\n",
        None => "first_wait_secs = 0.2\nmax_wait_secs = 600\nmax_attempts = 3\njitter = 0.2\n",
    };
}

fn name(agency: &str) -> AgencyName {
    agency.parse().unwrap()
}

/// What holds an agency's place while it is away.
enum Absent {
    Nothing,
    Deaf { _listener: TcpListener },
}

async fn begins(env: &mut TestEnvironment, outage: Outage) -> Vec<(SocketAddr, Absent)> {
    let mut places = Vec::new();
    for agency in AGENCIES {
        match outage {
            Outage::Says(code) => env.behave(agency, json!({"fault": {"status": {"code": code}}})),
            Outage::ShowsAPage => env.behave(agency, json!({"fault": {"page": {"code": 200}}})),
            Outage::IsSilent => env.behave(agency, json!({"delay_ms": 3_600_000})),
            Outage::NobodyListens | Outage::NobodyShakesHands => {
                let simulator = env.stack.simulators.remove(&name(agency)).unwrap();
                let address = simulator.address;
                simulator.stop().await;
                let is_deaf = outage == Outage::NobodyShakesHands;
                let absent =
                    if is_deaf { Absent::Deaf { _listener: listener(address).await } } else { Absent::Nothing };
                places.push((address, absent));
            }
        }
    }
    places
}

/// It takes connections and never says a word.
async fn listener(address: SocketAddr) -> TcpListener {
    let begun = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(10), "{address}: {error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn ends(env: &mut TestEnvironment, places: Vec<(SocketAddr, Absent)>) {
    let pace = json!({"delay_ms": ANSWER_MS});
    if places.is_empty() {
        AGENCIES.iter().for_each(|agency| env.behave(agency, pace.clone()));
    }
    for (agency, (address, absent)) in AGENCIES.iter().zip(places) {
        drop(absent);
        let project = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let services = project.join("schemas/services");
        let adapter = punte::kit::simulator::adapter_of(&env.adapters(), &services, &name(agency)).unwrap();
        let plan = SimulatorPlan {
            listen: address,
            behaviour: pace.clone().try_into().unwrap(),
            ..SimulatorPlan::new(adapter, &env.stack.secrets())
        };
        env.stack.simulators.insert(name(agency), Simulator::start(plan).await.unwrap());
    }
}

async fn post(env: &TestEnvironment, office: &str, service: &str) -> (String, reqwest::Client) {
    let client = env.stack.client(office).unwrap();
    let response = client
        .post(format!("{}/v1/submissions", env.stack.gateway()))
        .header("content-type", "application/json")
        .header("idempotency-key", uuid::Uuid::new_v4().to_string())
        .body(request(service, CITIZEN).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 202);
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    (body["id"].as_str().unwrap().to_owned(), client)
}

async fn show(env: &TestEnvironment, id: &str, client: &reqwest::Client) -> Value {
    let response = client.get(format!("{}/v1/submissions/{id}", env.stack.gateway())).send().await.unwrap();
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// Until it is seen to wait for the agency.
async fn waits(env: &TestEnvironment, id: &str, client: &reqwest::Client, posted_at: jiff::Timestamp) {
    let begun = Instant::now();
    loop {
        let shown = show(env, id, client).await;
        let state = shown["state"].as_str().unwrap();
        assert!(["accepted", "queued", "sending", "retrying"].contains(&state), "{shown:#}");
        let causes = shown["timeline"].as_array().unwrap().iter().map(|change| change["cause"].as_str().unwrap());
        let is_told = causes.into_iter().any(|cause| cause.contains(": waiting for the agency since 20"));
        if let (Some(since), true) = (shown["waiting_for_agency_since"].as_str(), is_told) {
            let since: jiff::Timestamp = since.parse().unwrap();
            assert!(since >= posted_at, "the outage began after that: {shown:#}");
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not say that it waits: {shown:#}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn nothing_is_parked(outage: Outage, plan: impl FnOnce(&mut TestStackPlan)) {
    // What may have been sent must not be sent again where it is done only once.
    let is_surely_unsent = matches!(outage, Outage::NobodyListens | Outage::NobodyShakesHands);
    let changed = |agency: &str, text: String| {
        let text = shortened(agency, text);
        if is_surely_unsent { text.replace("effect = \"idempotent\"", "effect = \"once\"") } else { text }
    };
    let mut env = TestEnvironment::with_adapters(changed, |it| {
        schedule(it);
        plan(it);
    })
    .await;
    for service in SERVICES {
        let id = env.post(service).await;
        env.ends(&id, "completed").await;
    }
    let began_at = jiff::Timestamp::now();
    let places = begins(&mut env, outage).await;
    let requests =
        |env: &TestEnvironment| AGENCIES.map(|it| env.stack.simulators.get(&name(it)).map_or(0, |it| it.requests()));
    let before = requests(&env);
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(post(&env, OFFICES[number % 2], SERVICES[number % 3]).await);
    }
    let began = Instant::now();
    for (id, client) in &ids {
        waits(&env, id, client, began_at).await;
    }
    let length = long().unwrap_or(Duration::from_secs(6));
    sleep(length.saturating_sub(began.elapsed())).await;
    for (id, client) in &ids {
        let shown = show(&env, id, client).await;
        assert!(["accepted", "queued", "sending", "retrying"].contains(&shown["state"].as_str().unwrap()), "{shown:#}");
    }
    let met = requests(&env);
    let back = Instant::now();
    ends(&mut env, places).await;
    let limit = if long().is_some() { Duration::from_secs(75) } else { Duration::from_secs(20) };
    for (id, client) in &ids {
        loop {
            let shown = show(&env, id, client).await;
            if shown["state"] == "completed" {
                assert!(shown["waiting_for_agency_since"].is_null(), "{shown:#}");
                break;
            }
            assert!(back.elapsed() < limit, "not through {:?} after the outage: {shown:#}", back.elapsed());
            sleep(Duration::from_millis(50)).await;
        }
    }
    println!(
        "an outage of {length:?}: 12 submissions through within {:?} of its end; the agencies were asked {met:?} times \
         meanwhile, {before:?} before",
        back.elapsed()
    );
    for agency in AGENCIES {
        let simulator = env.simulator(agency);
        let done: Vec<_> = simulator.ledger().into_iter().filter_map(|entry| entry.reference).collect();
        let distinct: std::collections::HashSet<_> = done.iter().collect();
        assert_eq!(distinct.len(), done.len(), "{agency} has done something twice");
        if is_surely_unsent {
            let arrivals = simulator.arrivals();
            let alone = arrivals[1].at.duration_since(arrivals[0].at);
            assert!(alone.as_millis() >= i128::from(ANSWER_MS), "a second request came {alone:?} after the first");
        }
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_in_which_nobody_listens_parks_nothing() {
    nothing_is_parked(Outage::NobodyListens, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_in_which_nobody_shakes_hands_parks_nothing() {
    nothing_is_parked(Outage::NobodyShakesHands, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_in_which_the_agency_says_that_it_is_unavailable_parks_nothing_over_rabbitmq_and_postgres() {
    nothing_is_parked(Outage::Says(503), |plan| {
        crate::environment::over_rabbitmq(plan);
        crate::environment::in_postgres(plan);
    })
    .await;
}

/// As an ingress does while nothing runs behind it.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_in_which_nobody_knows_the_address_parks_nothing() {
    nothing_is_parked(Outage::Says(404), |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_in_which_everybody_is_sent_elsewhere_parks_nothing() {
    nothing_is_parked(Outage::Says(302), |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_in_which_a_page_for_people_is_shown_parks_nothing() {
    nothing_is_parked(Outage::ShowsAPage, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_in_which_the_agency_is_silent_parks_nothing_once_its_circuit_is_open() {
    nothing_is_parked(Outage::IsSilent, |_| {}).await;
}

/// A single submission, of which nobody else's could tell that it is the agency. It may be sent again, so it is, however often
/// the schedule would have given it up.
#[tokio::test(flavor = "multi_thread")]
async fn one_submission_alone_waits_as_long_as_what_comes_speaks_of_the_agencys_health() {
    let env = TestEnvironment::with_adapters(shortened, schedule).await;
    let outages = [
        json!({"fault": {"status": {"code": 502}}}),
        json!({"fault": {"status": {"code": 504, "after_effect": true}}}),
        json!({"fault": {"status": {"code": 410}}}),
        json!({"fault": {"status": {"code": 301, "after_effect": true}}}),
        json!({"fault": {"page": {"code": 400}}}),
        json!({"fault": "reset-before-effect"}),
        json!({"delay_ms": 3_600_000}),
    ];
    for outage in outages {
        AGENCIES.iter().for_each(|agency| env.behave(agency, outage.clone()));
        // A `read`, an `idempotent` and a `lookup`, and never two of them at one agency at a time.
        for services in [&SERVICES[1..], &SERVICES[..1]] {
            let mut ids = Vec::new();
            for service in services {
                ids.push(env.post(service).await);
            }
            for id in &ids {
                let shown = tried(&env, id, 5).await;
                assert!(shown["waiting_for_agency_since"].is_string(), "{outage}: {shown:#}");
            }
            AGENCIES.iter().for_each(|agency| env.behave(agency, json!(null)));
            for id in &ids {
                env.ends(id, "completed").await;
            }
            AGENCIES.iter().for_each(|agency| env.behave(agency, outage.clone()));
        }
    }
    for agency in AGENCIES {
        let done: Vec<_> = env.simulator(agency).ledger().into_iter().filter_map(|entry| entry.reference).collect();
        let distinct: std::collections::HashSet<_> = done.iter().collect();
        assert_eq!(distinct.len(), done.len(), "{agency} has done something twice");
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_count_what_the_agency_answers_about_the_request_and_no_outage_before_it() {
    let env = TestEnvironment::with_adapters(shortened, schedule).await;
    let fault = json!({"soap-fault": {"blames": "server"}});
    env.behave(
        "civil-registry",
        json!([{"fault": {"status": {"code": 502}}, "times": 4}, {"fault": fault, "times": 2}, {"fault": null}]),
    );
    let id = env.post("civil-status-extract").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!(shown["attempts"], 7, "{shown:#}");
    env.behave("civil-registry", json!([{"fault": {"status": {"code": 502}}, "times": 2}, {"fault": fault}]));
    let id = env.post("civil-status-extract").await;
    let shown = env.ends(&id, "parked").await;
    assert_eq!(
        (&shown["attempts"], &shown["fault"]["code"]),
        (&5.into(), &"agency.soap-fault.server".into()),
        "{shown:#}"
    );
    env.leave().await;
}

/// Until it has been tried this often, and waits.
pub async fn tried(env: &TestEnvironment, id: &str, attempts: u64) -> Value {
    let begun = Instant::now();
    loop {
        let shown = env.show(id).await;
        assert!(["accepted", "queued", "sending", "retrying"].contains(&shown["state"].as_str().unwrap()), "{shown:#}");
        if shown["attempts"].as_u64() >= Some(attempts) && shown["state"] == "retrying" {
            return shown;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{shown:#}");
        sleep(Duration::from_millis(20)).await;
    }
}
