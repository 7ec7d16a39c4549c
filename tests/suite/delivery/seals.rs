//! The seals that the project's own agencies do not use, over the whole way: RFC 9421 message signatures, a detached JWS,
//! SOAP 1.2 with ECDSA. The agencies are folders of `tests/adapters`, and the simulator checks what we sign for real.

use crate::environment::{TestEnvironment, request};
use punte::{kit::test_stack::TestStackPlan, process::Installation};
use serde_json::json;
use std::path::Path;

/// An environment whose agencies are those of `tests/adapters`.
async fn env() -> TestEnvironment {
    TestEnvironment::planned(|plan: &mut TestStackPlan| {
        plan.adapters = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adapters");
    })
    .await
}

const ALL: [(&str, &str); 3] =
    [("event-desk", "legal-event"), ("extract-desk", "civil-status-extract"), ("population-register", "person-lookup")];

#[tokio::test(flavor = "multi_thread")]
async fn every_seal_is_believed_by_the_agency_and_its_answer_by_us() {
    let env = env().await;
    for (agency, service) in ALL {
        let id = env.post(service).await;
        let shown = env.ends(&id, "completed").await;
        assert!(shown["answer"].is_object(), "{shown:#}");
        assert_eq!(env.effects(agency), 1, "{agency}");
    }
    let refused = env.post_request(&request("person-lookup", "2000000000404")).await;
    assert_eq!(env.ends(&refused, "refused").await["refusal"]["code"], "person-not-found");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_seal_lets_an_answer_pass_that_the_agency_has_not_signed() {
    let env = env().await;
    for flaw in ["wrong-signature", "no-signature", "foreign-signature", "stale-timestamp"] {
        for (agency, service) in ALL {
            // A detached JWS tells no time, so a stale one cannot be told from a fresh one.
            if (flaw, agency) == ("stale-timestamp", "extract-desk") {
                continue;
            }
            env.behave(agency, json!({"fault": flaw}));
            let id = env.post(service).await;
            let shown = env.until(&id, &["parked", "uncertain", "completed"]).await;
            assert_eq!(shown["fault"]["code"], "agency.answer.signature", "{agency}, {flaw}: {shown:#}");
            assert!(shown["answer"].is_null(), "{agency}, {flaw}: {shown:#}");
            let expected = if agency == "event-desk" { "uncertain" } else { "parked" };
            assert_eq!(shown["state"], expected, "{agency}, {flaw}: {shown:#}");
            env.behave(agency, json!(null));
        }
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_reached_an_agency_with_effect_once_is_never_sent_again() {
    let env = env().await;
    env.behave("event-desk", json!({"fault": "reset-after-effect", "times": 1}));
    let id = env.post("legal-event").await;
    let shown = env.ends(&id, "uncertain").await;
    assert_eq!((shown["attempts"].as_u64(), env.effects("event-desk")), (Some(1), 1), "{shown:#}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rsa_sha1_is_used_where_a_profile_says_so_and_warned_of_at_start() {
    let to_sha1 = |agency: &str, text: String| match agency {
        "civil-registry" => text.replace("rsa-sha256", "rsa-sha1"),
        _ => text,
    };
    let env = TestEnvironment::with_adapters(to_sha1, |_| {}).await;
    let installation = Installation::load(&env.stack.config(), jiff::Timestamp::now()).unwrap();
    let of_sha1: Vec<_> = installation.warnings.iter().filter(|warning| warning.contains("rsa-sha1")).collect();
    assert_eq!(of_sha1.len(), 2, "{:?}", installation.warnings);
    assert!(of_sha1.iter().all(|warning| warning.starts_with("civil-registry: ")), "{of_sha1:?}");
    let id = env.post("person-lookup").await;
    env.ends(&id, "completed").await;
    let id = env.post("legal-event").await;
    env.ends(&id, "completed").await;
    env.leave().await;
}
