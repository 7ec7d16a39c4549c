//! Agencies have every kind of bad day while offices post: slow, dead, flapping, late, garbled, with other certificates.

use crate::harness::{ALL, House, clients::SERVICES, over_rabbitmq};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// What the agencies do for a while, and how it is called.
fn bad_days() -> Vec<(&'static str, Value)> {
    vec![
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
        ("blames itself", json!({"fault": {"soap-fault": {"blames": "server", "after_effect": true}}, "times": 3})),
        ("shows a stranger's certificate", json!({"fault": "rogue-certificate"})),
        ("shows a renewed certificate", json!({"fault": "renewed-certificate"})),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agencies_with_every_kind_of_bad_day_get_everything_once() {
    let mut house = House::build(&[ALL], over_rabbitmq).await;
    house.post("person-lookup").await;
    let counters = house.open_counters(2, Duration::from_millis(20));
    for (name, behaviour) in bad_days() {
        house.behave(&behaviour);
        sleep(Duration::from_millis(900)).await;
        house.behave(&Value::Null);
        house.figures.fault(&format!("agency {name}"));
    }
    for agency in SERVICES_OF {
        house.agency(agency).die().await;
        sleep(Duration::from_millis(600)).await;
        house.agency(agency).come_back().await;
        house.figures.fault("agency is dead");
    }
    for _ in 0..5 {
        house.agency("legal-events").die().await;
        sleep(Duration::from_millis(150)).await;
        house.agency("legal-events").come_back().await;
        sleep(Duration::from_millis(150)).await;
    }
    house.figures.fault("agency is flapping");
    counters.close().await;
    house.audit().await;
}

const SERVICES_OF: [&str; 3] = ["civil-registry", "legal-events", "once-registry"];

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
