//! An agency that lets nobody of this installation in waits as a whole: what finds that out, how long it is waited between two
//! health checks, and what it costs the submissions.

use super::moments::{NO_CERTIFICATE, STAYS, env_with_raw_agency, hasty, with_probe};
use crate::{
    environment::{TestEnvironment, until},
    raw_agency::{Act, End, RawAgency, Say, When},
};
use std::time::{Duration, Instant};

const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
const UNWELL: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const WELL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const HALTED: &str = "agency_halted{agency=\"civil-registry\"} 1";

fn answers(agency: &RawAgency, say: Say) {
    agency.acts(Act { when: When::AfterRequest, says: vec![say], end: End::Stay });
}

async fn is_halted(env: &TestEnvironment) -> bool {
    env.operations("/metrics").await.contains(HALTED)
}

/// It stays in the queue, and its timeline tells why.
async fn says_that_it_waits(env: &TestEnvironment, id: &str) {
    until(async || !env.show(id).await["waiting_for_agency_since"].is_null()).await;
    let shown = env.show(id).await;
    let told = shown["timeline"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&shown["state"], &told["state"]), (&"queued".into(), &"queued".into()), "{shown:#}");
    let cause = told["cause"].as_str().unwrap();
    assert!(cause.starts_with("bus.identity.refused: waiting for the agency since 20"), "{shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_is_enough_where_the_declared_probe_meets_the_same_and_none_where_it_does_not() {
    let slow =
        |agency: &str, text: String| with_probe(agency, text).replace("cooldown_secs = 0.1", "cooldown_secs = 1");
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS13, slow).await;
    answers(&agency, Say::Http(FORBIDDEN));
    agency.says_of_its_health(WELL);
    let id = env.post("person-lookup").await;
    env.ends(&id, "parked").await;
    assert!(!is_halted(&env).await, "one office's requests alone have halted the agency, whose probe is well");
    agency.says_of_its_health(UNWELL);
    let id = env.post("person-lookup").await;
    env.ends(&id, "parked").await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(!is_halted(&env).await, "that its probe fails for a moment has halted the agency");
    agency.says_of_its_health(FORBIDDEN);
    env.post("person-lookup").await;
    until(async || is_halted(&env).await).await;
    let waiting = env.post("person-lookup").await;
    says_that_it_waits(&env, &waiting).await;
    let ready = env.operations("/healthz/ready").await;
    assert!(ready.contains("the probe GET /registry/health was answered with 403"), "{ready}");
    // Looks go on, and find the same.
    let (requests, begun) = (agency.requests(), Instant::now());
    while begun.elapsed() < Duration::from_secs(2) {
        assert!(is_halted(&env).await, "it goes on although its probe fails");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(agency.requests(), requests, "something was sent while the agency is halted");
    answers(&agency, STAYS);
    agency.says_of_its_health(WELL);
    env.until(&waiting, &super::moments::ENDS).await;
    assert!(agency.requests() > requests && !is_halted(&env).await);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_probe_each_look_costs_one_submission_an_attempt_and_none_a_try_at_growing_distances() {
    let (mut env, agency) = env_with_raw_agency(&rustls::version::TLS13, |agency, text| {
        hasty(agency, text).replace("cooldown_secs = 0.1", "cooldown_secs = 0.5")
    })
    .await;
    answers(&agency, Say::Http(FORBIDDEN));
    // Whoever meets it before anybody knows that it is everybody's may use up his tries.
    env.post("person-lookup").await;
    env.office = env.stack.client("shkoder").unwrap();
    until(async || agency.requests() > 0).await;
    let mut ids = vec![env.post("person-lookup").await];
    until(async || is_halted(&env).await).await;
    for _ in 0..3 {
        ids.push(env.post("person-lookup").await);
    }
    // With two tries a submission, tries that count would end them all.
    let (mut last, mut distances, begun) = (agency.requests(), Vec::new(), Instant::now());
    let mut since = begun;
    while begun.elapsed() < Duration::from_secs(12) {
        let now = agency.requests();
        assert!(now <= last + 1, "a health check has cost {} attempts", now - last);
        if now > last {
            distances.push(since.elapsed());
            (last, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("health checks came after {distances:?}");
    assert!((2..=6).contains(&distances.len()), "{distances:?}");
    assert!(distances.last().unwrap() > &(distances[0] * 3 / 2), "they do not grow: {distances:?}");
    let journal = &env.stack.process().unwrap().journal;
    for id in &ids {
        let progress = journal.find(id.parse().unwrap()).await.unwrap().unwrap().progress;
        assert!(!progress.state.name().is_settled(), "{:?}", progress.state.name());
        assert!(progress.tries <= 1, "tries were used up: {progress:?}");
    }
    answers(&agency, STAYS);
    until(async || agency.requests() >= last + 4).await;
    env.leave().await;
}

/// Two failures, of anybody, open the circuit for half a second.
fn touchy(agency: &str, text: String) -> String {
    with_probe(agency, text)
        .replace("failures = 1000", "failures = 2")
        .replace("cooldown_secs = 0.1", "cooldown_secs = 0.5")
        .replace("connect_timeout_secs = 5", "connect_timeout_secs = 1")
}

const OPEN: &str = "punte_breaker_state{agency=\"civil-registry\"} 2";

/// The agency's circuit is open, and what may be done once only waits.
async fn waiting(env: &TestEnvironment, agency: &RawAgency) -> Vec<String> {
    agency.acts(Act { when: When::InsteadOfHandshake, says: Vec::new(), end: End::Fin });
    let ids = [env.post("civil-status-extract").await, env.post("civil-status-extract").await];
    until(async || env.operations("/metrics").await.contains(OPEN)).await;
    ids.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_circuit_is_tried_by_the_declared_probe_and_nothing_is_sent_until_it_goes_well() {
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS13, touchy).await;
    let ids = waiting(&env, &agency).await;
    agency.says_of_its_health(UNWELL);
    answers(&agency, Say::Http(UNWELL));
    let handshakes = agency.handshakes();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(agency.handshakes() >= handshakes + 4, "nobody has looked at it");
    assert_eq!(agency.requests(), 0, "something was sent that cannot be repeated");
    for id in &ids {
        let shown = env.show(id).await;
        assert!(["accepted", "queued", "retrying"].contains(&shown["state"].as_str().unwrap()), "{shown:#}");
        assert!(shown["waiting_for_agency_since"].is_string(), "{shown:#}");
    }
    agency.says_of_its_health(WELL);
    answers(&agency, STAYS);
    for id in &ids {
        env.ends(id, "uncertain").await;
    }
    assert_eq!(agency.requests(), 2);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_with_a_page_because_no_certificate_was_shown_waits_and_the_probe_halts_the_agency() {
    let (mut env, agency) = env_with_raw_agency(&rustls::version::TLS13, touchy).await;
    agency.says_of_its_health(NO_CERTIFICATE);
    answers(&agency, Say::Http(NO_CERTIFICATE));
    let mut ids = vec![env.post("person-lookup").await, env.post("person-lookup").await];
    env.office = env.stack.client("shkoder").unwrap();
    ids.push(env.post("person-lookup").await);
    until(async || is_halted(&env).await).await;
    let journal = &env.stack.process().unwrap().journal;
    for id in &ids {
        let progress = journal.find(id.parse().unwrap()).await.unwrap().unwrap().progress;
        assert!(!progress.state.name().is_settled() && progress.tries <= 1, "{progress:?}");
    }
    let ready = env.operations("/healthz/ready").await;
    assert!(ready.contains("was answered with 400 and a page for people"), "{ready}");
    env.leave().await;
}
