//! What an agency's folder declares to mean "not handled" is sent again, whatever the effect; the same moment where nobody
//! has declared it, and every other moment that looks like it, stays in doubt.

use super::{
    belief::unsealed,
    moments::{ENDS, REGISTRY, STAYS, code, env_with_raw_agency, hasty},
};
use crate::{
    environment::TestEnvironment,
    raw_agency::{Act, End, RawAgency, Say, When},
};
use serde_json::Value;

const UNKNOWN_CA: u8 = 48;
const ACCESS_DENIED: u8 = 49;

/// The registry as an agency that never signs, and whose server is known to end TLS itself.
fn declared(effect: &str) -> impl Fn(&str, String) -> String {
    move |agency, text| {
        let text = hasty(agency, text);
        match agency {
            REGISTRY => unsealed(&text, "not_handled = [\"certificate-alert\"]")
                .replace("effect = \"once\"", &format!("effect = {effect:?}"))
                .replace("effect = \"read\"", "effect = \"read\"\nnot_handled = [\"certificate-alert\"]"),
            _ => text,
        }
    }
}

fn refuses(agency: &RawAgency, alert: u8) {
    agency.acts(Act { when: When::AfterRequest, says: vec![Say::Alert(alert)], end: End::Fin });
}

fn answers(agency: &RawAgency) {
    agency.acts(Act { when: When::AfterRequest, says: vec![STAYS], end: End::Stay });
}

/// As the first attempt ended, while the agency stands still.
async fn after_first_attempt(env: &TestEnvironment, id: &str) -> (Value, bool) {
    let shown = env.until(id, &["retrying", "parked", "uncertain"]).await;
    let journal = &env.stack.process().unwrap().journal;
    let progress = journal.find(id.parse().unwrap()).await.unwrap().unwrap().progress;
    (shown, progress.in_doubt)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_our_certificate_that_the_folder_declares_not_handled_leaves_no_doubt_and_uses_no_try() {
    for (effect, service) in
        [("once", "civil-status-extract"), ("idempotent", "civil-status-extract"), ("once", "person-lookup")]
    {
        let (env, agency) = env_with_raw_agency(&rustls::version::TLS13, declared(effect)).await;
        // No ticket: so the first that is heard after the handshake may come after the request.
        agency.gives_tickets(0);
        refuses(&agency, UNKNOWN_CA);
        let id = env.post(service).await;
        let (shown, in_doubt) = after_first_attempt(&env, &id).await;
        assert_eq!((code(&shown), &shown["state"]), ("bus.identity.refused", &"retrying".into()), "{shown:#}");
        assert!(!in_doubt && shown["waiting_for_agency_since"].is_string(), "{effect} {service}: {shown:#}");
        assert_eq!(agency.requests(), 1, "it was not given the request");
        assert!(env.operations("/metrics").await.contains("agency_halted{agency=\"civil-registry\"} 1"));
        answers(&agency);
        env.until(&id, &ENDS).await;
        assert!(agency.requests() >= 2, "{effect} {service} is not sent again");
        env.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_like_the_declared_moment_stays_in_doubt() {
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS13, declared("once")).await;
    let is_uncertain = async |label: &str| {
        let before = agency.requests();
        let id = env.post("civil-status-extract").await;
        let shown = env.ends(&id, "uncertain").await;
        assert_eq!((code(&shown), agency.requests() - before), ("bus.identity.refused-late", 1), "{label}: {shown:#}");
    };
    agency.gives_tickets(0);
    refuses(&agency, ACCESS_DENIED);
    is_uncertain("it may be about what was asked").await;
    agency.gives_tickets(2);
    refuses(&agency, UNKNOWN_CA);
    is_uncertain("the server had taken our certificate").await;
    agency.gives_tickets(0);
    answers(&agency);
    let id = env.post("civil-status-extract").await;
    env.ends(&id, "uncertain").await;
    refuses(&agency, UNKNOWN_CA);
    is_uncertain("the connection had answered before").await;
    env.leave().await;
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS12, declared("once")).await;
    refuses(&agency, UNKNOWN_CA);
    let id = env.post("civil-status-extract").await;
    assert_eq!(code(&env.ends(&id, "uncertain").await), "bus.identity.refused-late", "TLS 1.2 had proved it");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_declared_the_same_refusal_leaves_a_doubt() {
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS13, hasty).await;
    agency.gives_tickets(0);
    refuses(&agency, UNKNOWN_CA);
    let id = env.post("civil-status-extract").await;
    let shown = env.ends(&id, "uncertain").await;
    assert_eq!((code(&shown), agency.requests()), ("bus.identity.refused-late", 1), "{shown:#}");
    env.leave().await;
}
