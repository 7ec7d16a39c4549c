//! Agencies have every kind of bad day while offices post: slow, dead, flapping, late, garbled, with other certificates.

use crate::harness::{ALL, ProcessCluster, agency::Agency, clients::SERVICES, is_long, outside, over_rabbitmq};
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
    let mut cluster = ProcessCluster::build(&[ALL], over_rabbitmq).await;
    cluster.post("person-lookup").await;
    let clients = cluster.open_load_clients(2, Duration::from_millis(20));
    for (name, behaviour, met) in bad_days() {
        cluster.behave(&behaviour);
        let before: Vec<u64> = cluster.agencies.values().map(met).collect();
        sleep(Duration::from_millis(900)).await;
        let is_met = || cluster.agencies.values().zip(&before).all(|(agency, before)| met(agency) > *before);
        until(name, is_met).await;
        cluster.behave(&Value::Null);
        cluster.figures.fault(&format!("agency {name}"));
    }
    let journal = outside::journal(&cluster.stack.config()).await;
    for agency in AGENCIES {
        cluster.agency(agency).die().await;
        sleep(Duration::from_millis(600)).await;
        until_nobody_answers(&journal, agency).await;
        cluster.agency(agency).come_back().await;
        cluster.figures.fault("agency is dead");
    }
    for _ in 0..5 {
        cluster.agency("legal-events").die().await;
        until_nobody_answers(&journal, "legal-events").await;
        cluster.agency("legal-events").come_back().await;
        until("flaps", || cluster.agencies["legal-events"].requests() > 0).await;
    }
    cluster.figures.fault("agency is flapping");
    clients.close().await;
    cluster.audit().await;
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
    let mut cluster = ProcessCluster::build(&[ALL], over_rabbitmq).await;
    cluster.warm_up().await;
    let clients = cluster.open_load_clients(2, Duration::from_millis(if is_long() { 2000 } else { 200 }));
    cluster.agencies["civil-registry"].behave(&json!({"fault": "garbage-in-turn"}));
    let (begun, before) = (Instant::now(), cluster.agencies["civil-registry"].requests());
    while begun.elapsed() < length {
        let posted = Instant::now();
        let id = cluster.post("legal-event").await;
        cluster.until(&id, &["completed"]).await;
        assert!(posted.elapsed() < LIMIT, "another agency's office waited {:?}", posted.elapsed());
        sleep(Duration::from_millis(500)).await;
    }
    // Each of the six sorts.
    until("sends garbage in turn", || cluster.agencies["civil-registry"].requests() >= before + 6).await;
    cluster.behave(&Value::Null);
    cluster.figures.fault("agency sends garbage in turn");
    clients.close().await;
    cluster.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_answer_on_the_same_connection_is_nobodys_answer() {
    let mut cluster = ProcessCluster::build(&[ALL], |_| {}).await;
    cluster.behave(&json!({"fault": "answer-twice"}));
    for _ in 0..5 {
        for service in SERVICES {
            let id = cluster.post(service).await;
            cluster.until(&id, &["completed"]).await;
        }
    }
    let figures = cluster.audit().await;
    assert_eq!(figures.ends["completed"], 20, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agency_that_renews_its_certificate_is_noticed_by_nobody() {
    let mut cluster = ProcessCluster::build(&[ALL], |_| {}).await;
    let first = cluster.post("civil-status-extract").await;
    cluster.until(&first, &["completed"]).await;
    let certificate = |name: &str| std::fs::read(cluster.stack.secrets().join("simulators/civil-registry").join(name));
    assert_ne!(certificate("server-renewed.pem").unwrap(), certificate("server.pem").unwrap());
    cluster.behave(&json!({"fault": "renewed-certificate"}));
    for service in SERVICES {
        let id = cluster.post(service).await;
        let shown = cluster.until(&id, &["completed", "parked", "uncertain"]).await;
        assert_eq!((&shown["state"], &shown["attempts"]), (&json!("completed"), &json!(1)), "{shown:#}");
    }
    cluster.audit().await;
}
