//! Due times, deadlines, cancelling, restarts: what the scheduler and the journal do together.

use crate::town::{CITIZEN, Town, request};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_comes_when_it_is_due() {
    let town =
        Town::planned(|plan| plan.retry = "first_wait_secs = 1\nmax_wait_secs = 2\nmax_attempts = 3\njitter = 0\n")
            .await;
    town.behave("civil-registry", json!({"fault": {"status": {"code": 503}}, "times": 1}));
    let id = town.post("person-lookup").await;
    let shown = town.ends(&id, "completed").await;
    let at = |state: &str, last: bool| -> jiff::Timestamp {
        let timeline = shown["timeline"].as_array().unwrap();
        let mut changes = timeline.iter().filter(|change| change["state"] == state);
        let change = if last { changes.next_back() } else { changes.next() };
        change.unwrap()["at"].as_str().unwrap().parse().unwrap()
    };
    let waited = at("sending", true).duration_since(at("retrying", false));
    assert!((1000..1400).contains(&waited.as_millis()), "waited {waited:?} instead of 1 s");
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_what_was_certainly_not_done() {
    let town = Town::planned(|plan| plan.retry = "first_wait_secs = 30\nmax_wait_secs = 30\nmax_attempts = 9\n").await;
    town.behave("civil-registry", json!({"fault": {"status": {"code": 503}}}));
    let mut hurried = request("civil-status-extract", CITIZEN);
    hurried["expires_at"] = json!((jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2)).to_string());
    let id = town.post_request(&hurried).await;
    let shown = town.ends(&id, "expired").await;
    assert_eq!(shown["fault"]["code"], "bus.deadline.passed", "{shown:#}");
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_leaves_doubt_goes_in_front_of_an_operator() {
    let town = Town::planned(|plan| plan.retry = "first_wait_secs = 30\nmax_wait_secs = 30\nmax_attempts = 9\n").await;
    town.behave("civil-registry", json!({"fault": "reset-after-effect"}));
    let mut hurried = request("civil-status-extract", CITIZEN);
    hurried["expires_at"] = json!((jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2)).to_string());
    let id = town.post_request(&hurried).await;
    let shown = town.ends(&id, "parked").await;
    assert_eq!(shown["fault"]["code"], "bus.deadline.in-doubt", "{shown:#}");
    town.leave().await;
}

async fn delete(town: &Town, id: &str) -> (u16, Value) {
    let response = town.office.delete(format!("{}/v1/submissions/{id}", town.stage.gateway())).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_office_cancels_what_was_not_sent_and_nothing_else() {
    let town = Town::planned(|plan| plan.retry = "first_wait_secs = 30\nmax_wait_secs = 30\nmax_attempts = 9\n").await;
    town.behave(
        "civil-registry",
        json!([{"fault": {"status": {"code": 503}}, "times": 1}, {"fault": "reset-after-effect", "times": 1}]),
    );
    let unsent = town.post("civil-status-extract").await;
    town.until(&unsent, &["retrying"]).await;
    let (status, body) = delete(&town, &unsent).await;
    assert_eq!(status, 200, "{body:#}");
    town.ends(&unsent, "cancelled").await;
    let in_doubt = town.post("civil-status-extract").await;
    town.until(&in_doubt, &["retrying"]).await;
    let (status, problem) = delete(&town, &in_doubt).await;
    assert_eq!((status, &problem["code"]), (409, &json!("office.submission.not-cancellable")));
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_at_a_stop_is_finished_after_the_start() {
    let mut town = Town::found().await;
    town.behave("civil-registry", json!({"delay_ms": 1500}));
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(town.post("civil-status-extract").await);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // No grace: what is being sent is cut off, as by a crash.
    town.stage.stop(Duration::ZERO).await;
    town.behave("civil-registry", json!(null));
    town.stage.start().await.unwrap();
    for id in &ids {
        town.ends(id, "completed").await;
    }
    let ledger = town.simulator("civil-registry").ledger();
    assert_eq!(ledger.len(), ids.len(), "each was done once, whatever was repeated");
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_the_office_reaches_the_agency() {
    let town = Town::found().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let response = town
        .office
        .post(format!("{}/v1/submissions", town.stage.gateway()))
        .header("content-type", "application/json")
        .header("idempotency-key", "traced")
        .header("prefer", "wait=20")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .body(request("person-lookup", CITIZEN).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let ledger = town.simulator("civil-registry").ledger();
    let seen = ledger[0].traceparent.as_deref().unwrap_or_default();
    assert!(seen.starts_with(&format!("00-{trace}-")) && !seen.contains("00f067aa0ba902b7"), "{seen}");
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_key_files_are_taken_up_and_bad_ones_are_not() {
    let town = Town::found().await;
    let folder = town.stage.secrets().join("agencies/civil-registry");
    let rogue = town.stage.secrets().join("rogue");
    let good = std::fs::read(folder.join("client.pem")).unwrap();
    // A certificate that does not fit its key is refused: the old pair stays in use.
    std::fs::copy(rogue.join("office.pem"), folder.join("client.pem")).unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let id = town.post("person-lookup").await;
    town.ends(&id, "completed").await;
    // A pair that fits is taken up, and the agency does not know its issuer.
    std::fs::copy(rogue.join("office.key"), folder.join("client.key")).unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let id = town.post("person-lookup").await;
    let shown = town.until(&id, &["retrying", "parked"]).await;
    assert_eq!(shown["fault"]["code"], "network.tls", "{shown:#}");
    drop(good);
    town.leave().await;
}
