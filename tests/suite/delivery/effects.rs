//! What happens after "sent, outcome unknown": each effect goes its own way, and the agency's ledger shows what was done.

use crate::environment::{CITIZEN, TestEnvironment, request, states};
use serde_json::json;

/// The extract as an operation that the agency neither recognises nor can be asked about.
fn as_once(agency: &str, text: String) -> String {
    if agency == "civil-registry" { text.replace("effect = \"idempotent\"", "effect = \"once\"") } else { text }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_is_completed_at_its_first_attempt() {
    let env = TestEnvironment::started().await;
    for service in ["person-lookup", "civil-status-extract", "legal-event"] {
        let id = env.post(service).await;
        let shown = env.ends(&id, "completed").await;
        // Whether it is noted as queued depends on how soon a worker takes it.
        let mut states = states(&shown);
        states.retain(|state| *state != "queued");
        assert_eq!(states, ["accepted", "sending", "completed"], "{shown:#}");
        assert_eq!(shown["attempts"], 1);
        assert!(shown["answer"].is_object(), "{shown:#}");
    }
    assert_eq!((env.effects("civil-registry"), env.effects("legal-events")), (2, 1));
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_takes_long_is_seen_to_be_on_its_way() {
    let env = TestEnvironment::started().await;
    env.behave("civil-registry", json!({"delay_ms": 1500, "times": 1}));
    let id = env.post("person-lookup").await;
    let shown = env.until(&id, &["sending", "completed"]).await;
    assert_eq!(shown["state"], "sending", "{shown:#}");
    let shown = env.ends(&id, "completed").await;
    let times: Vec<&str> = shown["timeline"].as_array().unwrap().iter().map(|it| it["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{shown:#}");
    assert_eq!(shown["attempts"], 1);
    env.leave().await;
}

/// It has waited in a queue: what was known of it when it came may be true no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_was_taken_back_while_it_waited_is_not_sent() {
    let slowly = |_: &str, text: String| text.replace("requests_per_second = 50", "requests_per_second = 1");
    let env = TestEnvironment::with_adapters(slowly, |_| {}).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(env.post("person-lookup").await);
    }
    let last = ids.pop().unwrap();
    assert_eq!(env.cancel(&last).await.0, 200);
    for id in &ids {
        env.ends(id, "completed").await;
    }
    // It would have had its turn by then.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(env.ends(&last, "cancelled").await["attempts"], 0);
    assert_eq!(env.simulator("civil-registry").requests(), 3);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_of_the_agency_is_an_answer_and_not_a_failure() {
    let env = TestEnvironment::started().await;
    let id = env.post_request(&request("person-lookup", "2000000000404")).await;
    let shown = env.ends(&id, "refused").await;
    assert_eq!(shown["refusal"]["code"], "person-not-found", "{shown:#}");
    assert_eq!(shown["attempts"], 1);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing_is_sent_again() {
    let env = TestEnvironment::started().await;
    env.behave("civil-registry", json!({"fault": "reset-after-effect", "times": 1}));
    let id = env.post("person-lookup").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!(shown["attempts"], 2);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agency_recognises_is_sent_again_under_the_same_reference_and_done_once() {
    let env = TestEnvironment::started().await;
    env.behave("civil-registry", json!({"fault": "reset-after-effect", "times": 1}));
    let id = env.post("civil-status-extract").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!(shown["attempts"], 2);
    let ledger = env.simulator("civil-registry").ledger();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_eq!((ledger[0].reference.as_deref(), ledger[0].times_seen), (Some(id.as_str()), 2));
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_asked_about_is_asked_and_not_sent_twice() {
    let env = TestEnvironment::started().await;
    env.behave("legal-events", json!({"fault": "reset-after-effect", "times": 1}));
    let id = env.post("legal-event").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!(shown["attempts"], 2);
    let ledger = env.simulator("legal-events").ledger();
    assert_eq!((ledger.len(), ledger[0].times_seen), (1, 1), "it was registered twice: {ledger:?}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agency_has_never_seen_is_sent_after_it_was_asked() {
    // A no counts only once the agency has had its time.
    let quick = |_: &str, text: String| text.replace("timeout_secs = 20", "timeout_secs = 2");
    let env = TestEnvironment::with_adapters(quick, |_| {}).await;
    env.behave("legal-events", json!({"fault": "reset-before-effect", "times": 1}));
    let id = env.post("legal-event").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!(shown["attempts"], 3, "one is sent, one asks too early, one asks and is sent");
    assert_eq!(env.effects("legal-events"), 1);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_answered_about_another_request_is_not_answered_with_no() {
    let quick = |_: &str, text: String| text.replace("timeout_secs = 20", "timeout_secs = 2");
    let env = TestEnvironment::with_adapters(quick, |_| {}).await;
    env.behave("legal-events", json!({"fault": "reset-after-effect", "times": 1}));
    let id = env.post("legal-event").await;
    env.until(&id, &["retrying"]).await;
    env.behave("legal-events", json!({"fault": "other-reference"}));
    env.ends(&id, "parked").await;
    assert_eq!(env.effects("legal-events"), 1);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_repeated_becomes_uncertain_and_is_never_sent_again_by_machine() {
    let env = TestEnvironment::with_adapters(as_once, |_| {}).await;
    env.behave("civil-registry", json!({"fault": "reset-after-effect", "times": 1}));
    let shown = env.post_and_end("civil-status-extract", "uncertain", "network.reset").await;
    assert_eq!(shown["attempts"], 1);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let still = env.show(shown["id"].as_str().unwrap()).await;
    assert_eq!((&still["state"], &still["attempts"]), (&json!("uncertain"), &json!(1)));
    assert_eq!(env.effects("civil-registry"), 1);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agency_has_certainly_not_done_is_sent_again_even_if_it_must_be_done_once() {
    // The next try waits until an answer is known to be younger.
    let close_clocks = |agency: &str, text: String| {
        as_once(agency, text)
            .replace("[seal.answer]\nkind = \"wss\"", "[seal.answer]\nkind = \"wss\"\nmax_clock_skew_secs = 1")
    };
    let env = TestEnvironment::with_adapters(close_clocks, |_| {}).await;
    env.behave("civil-registry", json!({"fault": "busy", "times": 1}));
    let id = env.post("civil-status-extract").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!((&shown["attempts"], env.effects("civil-registry")), (&json!(2), 1), "{shown:#}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_answer_comes_back_for_the_same_key_after_a_restart() {
    let mut env = TestEnvironment::started().await;
    let request = request("civil-status-extract", CITIZEN);
    let (status, first) = env.post_and_wait("one-key", &request).await;
    assert_eq!((status, &first["state"]), (200, &json!("completed")), "{first:#}");
    env.stack.stop(std::time::Duration::from_secs(5)).await;
    env.stack.start().await.unwrap();
    let (status, second) = env.post_and_wait("one-key", &request).await;
    assert_eq!((status, &second["id"], &second["answer"]), (200, &first["id"], &first["answer"]));
    assert_eq!(env.effects("civil-registry"), 1);
    env.leave().await;
}
