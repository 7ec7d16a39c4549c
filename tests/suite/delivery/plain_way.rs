//! What the fast path makes quicker is right without it: everything is recorded before it leaves, and read from the journal.

use crate::environment::{CITIZEN, TestEnvironment, new_key, request, states};
use punte::delivery::FastPathMode;
use serde_json::json;

async fn without_the_fast_path(effect: &str) -> TestEnvironment {
    let change = |_: &str, text: String| text.replace("effect = \"idempotent\"", &format!("effect = \"{effect}\""));
    TestEnvironment::with_adapters(change, |plan| plan.fast_path = FastPathMode::Off).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_of_each_effect_is_delivered_once_without_the_fast_path() {
    for (effect, service, agency) in [
        ("idempotent", "person-lookup", "civil-registry"),
        ("idempotent", "civil-status-extract", "civil-registry"),
        ("idempotent", "legal-event", "legal-events"),
        ("once", "civil-status-extract", "civil-registry"),
    ] {
        let env = without_the_fast_path(effect).await;
        let (status, shown) = env.post_and_wait(&new_key(), &request(service, CITIZEN)).await;
        assert_eq!(status, 200, "{shown:#}");
        assert_eq!((&shown["state"], &shown["attempts"]), (&json!("completed"), &json!(1)), "{shown:#}");
        let mut states = states(&shown);
        states.retain(|state| *state != "queued");
        assert_eq!(states, ["accepted", "sending", "completed"], "{shown:#}");
        assert_eq!((env.effects(agency), env.simulator(agency).requests()), (1, 1));
        env.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_and_not_answered_goes_the_way_of_its_effect_without_the_fast_path() {
    for (effect, service, agency, end, attempts) in [
        ("idempotent", "person-lookup", "civil-registry", "completed", 2),
        ("idempotent", "civil-status-extract", "civil-registry", "completed", 2),
        ("idempotent", "legal-event", "legal-events", "completed", 2),
        ("once", "civil-status-extract", "civil-registry", "uncertain", 1),
    ] {
        let env = without_the_fast_path(effect).await;
        env.behave(agency, json!({"fault": "reset-after-effect", "times": 1}));
        let id = env.post(service).await;
        let shown = env.ends(&id, end).await;
        assert_eq!(shown["attempts"], attempts, "{shown:#}");
        let ledger = env.simulator(agency).ledger();
        assert!(ledger.len() == 1 || service == "person-lookup", "done twice: {ledger:?}");
        env.leave().await;
    }
}
