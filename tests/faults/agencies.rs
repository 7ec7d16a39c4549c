//! Agencies have every kind of bad day while offices post: slow, dead, flapping, late, garbled, with other certificates.

use crate::harness::{ALL, House, agency::Agency, clients::SERVICES, is_long, outside, over_rabbitmq};
use jiff::Timestamp;
use punte::{
    domain::{Code, StateName},
    journal::{Journal, ListFilter, Record},
};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// By then somebody has met what an agency does: its circuit may be open, but for a second at a time.
const LIMIT: Duration = Duration::from_secs(20);

/// How often an agency was met so far.
type Met = fn(&Agency) -> u64;

/// What the agencies do for a while, how it is called, and what tells that somebody has met it.
fn bad_days() -> Vec<(&'static str, Value, Met)> {
    let to_requests = [
        ("slow", json!({"delay_ms": 1500})),
        ("acts after we gave up", json!({"delay_ms": 3300, "times": 3})),
        ("answers after we gave up", json!({"answer_delay_ms": 3300, "times": 3})),
        ("answers twice", json!({"fault": "answer-twice"})),
        ("resets before the effect", json!({"fault": "reset-before-effect"})),
        ("resets after the effect", json!({"fault": "reset-after-effect"})),
        ("sends garbage", json!({"fault": "garbage"})),
        ("sends half an answer", json!({"fault": "truncated-answer"})),
        ("sends too much", json!({"fault": "huge-answer", "times": 3})),
        ("drips", json!({"fault": {"slow-drip": {"millis_per_byte": 20}}, "times": 2})),
        ("answers another request", json!({"fault": "other-reference"})),
        ("signs wrongly", json!({"fault": "wrong-signature"})),
        ("does not sign", json!({"fault": "no-signature"})),
        ("is overloaded", json!({"fault": {"status": {"code": 503, "retry_after_secs": 1}}})),
        ("fails after the effect", json!({"fault": {"status": {"code": 500, "after_effect": true}}})),
        (
            "refuses unsigned after the effect",
            json!({"fault": {"status": {"code": 503, "after_effect": true}}, "times": 4}),
        ),
        (
            "is blamed by somebody on the way",
            json!({"fault": {"soap-fault": {"blames": "client", "after_effect": true, "unsigned": true}}, "times": 2}),
        ),
        ("has its status written over", json!({"fault": {"rewritten-status": {"code": 404}}})),
        ("has its answers swapped", json!({"fault": "swapped", "times": 4})),
        ("blames itself", json!({"fault": {"soap-fault": {"blames": "server", "after_effect": true}}, "times": 3})),
    ];
    let to_connections = [
        ("shows a stranger's certificate", json!({"fault": "rogue-certificate"})),
        ("shows a renewed certificate", json!({"fault": "renewed-certificate"})),
    ];
    let to_requests = to_requests.map(|(name, behaviour)| (name, behaviour, Agency::requests as Met));
    let to_connections = to_connections.map(|(name, behaviour)| (name, behaviour, Agency::shown_another as Met));
    to_requests.into_iter().chain(to_connections).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agencies_with_every_kind_of_bad_day_get_everything_once() {
    let mut house = House::build(&[ALL], over_rabbitmq).await;
    house.post("person-lookup").await;
    let counters = house.open_counters(2, Duration::from_millis(20));
    for (name, behaviour, met) in bad_days() {
        house.behave(&behaviour);
        let before: Vec<u64> = house.agencies.values().map(met).collect();
        sleep(Duration::from_millis(900)).await;
        let is_met = || house.agencies.values().zip(&before).all(|(agency, before)| met(agency) > *before);
        until(name, is_met).await;
        house.behave(&Value::Null);
        house.figures.fault(&format!("agency {name}"));
    }
    let journal = outside::journal(&house.stage.config()).await;
    for agency in AGENCIES {
        house.agency(agency).die().await;
        sleep(Duration::from_millis(600)).await;
        until_nobody_answers(&journal, agency).await;
        house.agency(agency).come_back().await;
        house.figures.fault("agency is dead");
    }
    for _ in 0..5 {
        house.agency("legal-events").die().await;
        until_nobody_answers(&journal, "legal-events").await;
        house.agency("legal-events").come_back().await;
        until("flaps", || house.agencies["legal-events"].requests() > 0).await;
    }
    house.figures.fault("agency is flapping");
    counters.close().await;
    house.audit().await;
}

const AGENCIES: [&str; 3] = ["civil-registry", "legal-events", "once-registry"];

/// A day that nobody meets is none.
async fn until(day: &str, is_met: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_met() {
        assert!(begun.elapsed() < LIMIT, "nobody has met an agency that {day}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A dead agency counts nothing: the journal says that somebody has found nobody there from now on.
async fn until_nobody_answers(journal: &Arc<dyn Journal>, agency: &str) {
    let (begun, dead_since) = (Instant::now(), Timestamp::now());
    let (agency, state) = (Some(agency.parse().unwrap()), Some(StateName::Retrying));
    let filter = ListFilter { agency, state, ..ListFilter::default() };
    let is_from_now_on = |record: &Record| {
        let code = record.progress.state.fault().map(|fault| fault.code);
        code == Some(Code::NetworkConnect) && record.changed_at > dead_since
    };
    while !journal.list(&filter, 1000).await.unwrap().iter().any(is_from_now_on) {
        assert!(begun.elapsed() < LIMIT, "nobody has met the dead {filter:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// For an hour, if the faults are to have their full length.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_for_long_harms_nobody() {
    let length = Duration::from_secs(if is_long() { 3600 } else { 10 });
    let mut house = House::build(&[ALL], over_rabbitmq).await;
    house.warm_up().await;
    let counters = house.open_counters(2, Duration::from_millis(if is_long() { 2000 } else { 200 }));
    house.agencies["civil-registry"].behave(&json!({"fault": "garbage-in-turn"}));
    let (begun, before) = (Instant::now(), house.agencies["civil-registry"].requests());
    while begun.elapsed() < length {
        let posted = Instant::now();
        let id = house.post("legal-event").await;
        house.until(&id, &["completed"]).await;
        assert!(posted.elapsed() < LIMIT, "another agency's office waited {:?}", posted.elapsed());
        sleep(Duration::from_millis(500)).await;
    }
    // Each of the six sorts.
    until("sends garbage in turn", || house.agencies["civil-registry"].requests() >= before + 6).await;
    house.behave(&Value::Null);
    house.figures.fault("agency sends garbage in turn");
    counters.close().await;
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_answer_on_the_same_connection_is_nobodys_answer() {
    let mut house = House::build(&[ALL], |_| {}).await;
    house.behave(&json!({"fault": "answer-twice"}));
    for _ in 0..5 {
        for service in SERVICES {
            let id = house.post(service).await;
            house.until(&id, &["completed"]).await;
        }
    }
    let figures = house.audit().await;
    assert_eq!(figures.ends["completed"], 20, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agency_that_renews_its_certificate_is_noticed_by_nobody() {
    let mut house = House::build(&[ALL], |_| {}).await;
    let first = house.post("civil-status-extract").await;
    house.until(&first, &["completed"]).await;
    let certificate = |name: &str| std::fs::read(house.stage.secrets().join("simulators/civil-registry").join(name));
    assert_ne!(certificate("server-renewed.pem").unwrap(), certificate("server.pem").unwrap());
    house.behave(&json!({"fault": "renewed-certificate"}));
    for service in SERVICES {
        let id = house.post(service).await;
        let shown = house.until(&id, &["completed", "parked", "uncertain"]).await;
        assert_eq!((&shown["state"], &shown["attempts"]), (&json!("completed"), &json!(1)), "{shown:#}");
    }
    house.audit().await;
}
