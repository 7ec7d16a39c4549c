//! One agency that fails or is slow never delays another, and while its circuit is open nothing is sent to it.

use crate::environment::TestEnvironment;
use punte::{
    broker::WorkItem,
    domain::{Priority, SubmissionId, TraceParent},
};
use serde_json::json;
use std::time::{Duration, Instant};

fn touchy(_: &str, text: String) -> String {
    text.replace("failures = 5", "failures = 3").replace("cooldown_secs = 15", "cooldown_secs = 2")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_circuit_holds_everything_back_burns_no_attempts_and_one_probe_closes_it() {
    let patient = |plan: &mut punte::kit::test_stack::TestStackPlan| {
        plan.retry = "first_wait_secs = 60\nmax_wait_secs = 60\nmax_attempts = 5\n";
    };
    let env = TestEnvironment::with_adapters(touchy, patient).await;
    env.behave("civil-registry", json!({"fault": {"status": {"code": 503}}}));
    // Three failures open it; the agency's own wait for these three is a minute.
    for _ in 0..3 {
        let id = env.post("person-lookup").await;
        env.until(&id, &["retrying"]).await;
    }
    let received = env.simulator("civil-registry").requests();
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(env.post("person-lookup").await);
    }
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let health = env.operations("/healthz/ready").await;
    assert!(
        health.starts_with("HTTP/1.1 200"),
        "one agency's failure must not take the others' gateway away: {health}"
    );
    assert!(health.contains("\"circuit of civil-registry\":{\"state\":\"degraded\""), "{health}");
    assert!(health.contains("\"circuit of legal-events\":{\"state\":\"up\"}"), "{health}");
    for id in &waiting {
        let shown = env.show(id).await;
        assert_eq!(shown["attempts"], 0, "an attempt was burnt: {shown:#}");
        assert_eq!(
            (&shown["state"], &shown["fault"]["code"]),
            (&json!("retrying"), &json!("agency.away")),
            "{shown:#}"
        );
    }
    assert_eq!(env.simulator("civil-registry").requests(), received, "something was sent while the circuit was open");
    env.behave("civil-registry", json!(null));
    for id in &waiting {
        let shown = env.ends(id, "completed").await;
        assert_eq!(shown["attempts"], 1, "{shown:#}");
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_submission_that_nobody_knows_is_dropped_though_the_circuit_is_open() {
    let slow_to_close = |agency: &str, text| touchy(agency, text).replace("cooldown_secs = 2", "cooldown_secs = 600");
    let env = TestEnvironment::with_adapters(slow_to_close, |_| {}).await;
    env.behave("civil-registry", json!({"fault": {"status": {"code": 503}}}));
    for _ in 0..3 {
        env.post("person-lookup").await;
    }
    let says = async |words: &str| env.operations("/metrics").await.contains(words);
    while !says("punte_breaker_state{agency=\"civil-registry\"} 2").await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let item = WorkItem {
        submission: SubmissionId::new(),
        agency: "civil-registry".parse().unwrap(),
        office: "causeni".parse().ok(),
        priority: Priority::Ordinary,
        trace: TraceParent::fresh(),
    };
    let broker = &env.stack.process().unwrap().broker;
    broker.publish(&[item]).await[0].as_ref().unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(says("punte_messages_in_hand{agency=\"civil-registry\"} 0").await, "the consumer still has it in hand");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn business_refusals_never_open_the_circuit() {
    let env = TestEnvironment::with_adapters(touchy, |_| {}).await;
    for _ in 0..6 {
        let id = env.post_request(&crate::environment::request("person-lookup", "2000000000404")).await;
        env.ends(&id, "refused").await;
    }
    let begun = Instant::now();
    let id = env.post("person-lookup").await;
    env.ends(&id, "completed").await;
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_agency_does_not_delay_another_one() {
    let env = TestEnvironment::started().await;
    env.behave("civil-registry", json!({"delay_ms": 4000}));
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.push(env.post("person-lookup").await);
    }
    let begun = Instant::now();
    for _ in 0..5 {
        let id = env.post("legal-event").await;
        env.ends(&id, "completed").await;
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let first = env.show(&slow[0]).await;
    assert_eq!(first["state"], "sending", "{first:#}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_are_under_way_at_once_than_the_agency_bears() {
    let narrow = |_: &str, text: String| text.replace("concurrency = 8", "concurrency = 2");
    let env = TestEnvironment::with_adapters(narrow, |_| {}).await;
    env.behave("legal-events", json!({"delay_ms": 300}));
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(env.post("legal-event").await);
    }
    let mut most = 0;
    let begun = Instant::now();
    loop {
        let count = async |state: &str| {
            let listed = env.get(&format!("/v1/submissions?state={state}")).await;
            listed["submissions"].as_array().unwrap_or_else(|| panic!("{listed:#}")).len()
        };
        most = most.max(count("sending").await);
        if count("completed").await == ids.len() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    assert!((1..=2).contains(&most), "{most} at once");
    assert!(
        begun.elapsed() >= Duration::from_millis(600),
        "six requests of 300 ms, two at a time: {:?}",
        begun.elapsed()
    );
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_urgent_submission_overtakes_ordinary_ones() {
    let single = |_: &str, text: String| text.replace("concurrency = 8", "concurrency = 1");
    let env = TestEnvironment::with_adapters(single, |_| {}).await;
    env.behave("legal-events", json!({"delay_ms": 400}));
    let mut ordinary = Vec::new();
    for _ in 0..6 {
        ordinary.push(env.post("legal-event").await);
    }
    let mut urgent = crate::environment::request("legal-event", crate::environment::CITIZEN);
    urgent["priority"] = json!("urgent");
    let urgent = env.post_request(&urgent).await;
    let urgent = env.ends(&urgent, "completed").await;
    let last = env.ends(&ordinary[5], "completed").await;
    let third = env.ends(&ordinary[2], "completed").await;
    let end = |shown: &serde_json::Value| shown["changed_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(end(&urgent) < end(&third), "the urgent one ended after the third ordinary one");
    assert!(end(&third) < end(&last));
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_a_second_go_out_than_the_agency_bears() {
    let slow = |agency: &str, text: String| {
        let limits = if agency == "legal-events" { "[limits]\nrequests_per_second = 2\n" } else { "[limits]\n" };
        text.replace("[limits]\n", limits)
    };
    let env = TestEnvironment::with_adapters(slow, |_| {}).await;
    let begun = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(env.post("legal-event").await);
    }
    for id in &ids {
        env.ends(id, "completed").await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(1900), "six at two a second took only {:?}", begun.elapsed());
    env.leave().await;
}
