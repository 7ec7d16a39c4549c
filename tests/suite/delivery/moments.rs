//! When did it fail? What an agency's server does to a connection before the request was given to it leaves no doubt; what it
//! does afterwards leaves nothing but doubt, whatever it is called.

use crate::{
    environment::{TestEnvironment, until},
    raw_agency::{Act, End, RawAgency, Say, When},
};
use punte::domain::{AgencyName, Code, ManualClock, Verdict};
use rustls::SupportedProtocolVersion;
use serde_json::Value;
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

pub const REGISTRY: &str = "civil-registry";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// The extract as an operation that nobody may repeat, and nothing that makes a test wait.
pub fn hasty(agency: &str, text: String) -> String {
    let text = if agency == REGISTRY { text.replace("effect = \"idempotent\"", "effect = \"once\"") } else { text };
    text.replace("failures = 5", "failures = 1000")
        .replace("cooldown_secs = 15", "cooldown_secs = 0.1")
        .replace("timeout_secs = 30", "timeout_secs = 2")
        .replace("timeout_secs = 20", "timeout_secs = 2")
}

pub async fn env_with_raw_agency(
    version: &'static SupportedProtocolVersion,
    change: impl Fn(&str, String) -> String,
) -> (TestEnvironment, RawAgency) {
    let agency = Arc::new(Mutex::new(None));
    let opened = agency.clone();
    let begin = move |keys: &Path| {
        let agency = RawAgency::open(keys, version);
        let endpoint = format!("https://localhost:{}/registry", agency.port);
        *opened.lock().unwrap() = Some(agency);
        endpoint
    };
    let env = TestEnvironment::with_adapters(change, |plan| {
        plan.retry = "first_wait_secs = 0.1\nmax_wait_secs = 0.2\nmax_attempts = 2\n";
        // What a worker leaves must not have to be found again.
        plan.more_config = "[scheduler]\nlost_after_secs = 3600\n".into();
        plan.external_agencies.insert(REGISTRY.parse::<AgencyName>().unwrap(), Box::new(begin));
    });
    let env = env.await;
    let agency = agency.lock().unwrap().take().unwrap();
    (env, agency)
}

pub fn code(shown: &Value) -> &str {
    shown["fault"]["code"].as_str().unwrap_or_default()
}

/// Everything that an agency's server, or what stands before it, may say in the place of an answer.
fn in_the_place_of_an_answer(is_tls13: bool) -> Vec<(&'static str, Vec<Say>, End)> {
    let mut all = vec![
        ("a corrupt record", vec![Say::Corrupt], End::Fin),
        ("plain text", vec![Say::Plain], End::Fin),
        ("an oversized record", vec![Say::Oversized], End::Fin),
        ("half a record", vec![Say::HalfRecord], End::Fin),
        ("half a record, then a reset", vec![Say::HalfRecord], End::Reset),
        ("an end without farewell", vec![], End::Fin),
        ("a reset", vec![], End::Reset),
        ("a farewell of TLS", vec![Say::Warning(0)], End::Fin),
        ("silence", vec![], End::Silence),
        ("half an answer", vec![Say::Http("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n<half")], End::Fin),
        ("half a head", vec![Say::Http("HTTP/1.1 200 OK\r\nconte")], End::Reset),
        ("an empty record", vec![Say::Record(23, vec![])], End::Fin),
        ("HTTP/2's GOAWAY", vec![Say::Record(23, vec![0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])], End::Fin),
        ("HTTP/2's REFUSED_STREAM", vec![Say::Record(23, vec![0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7])], End::Fin),
        ("a 100 and nothing else", vec![Say::Http("HTTP/1.1 100 Continue\r\n\r\n")], End::Fin),
        ("a message of a handshake", vec![Say::Record(22, vec![2, 0, 0, 1, 0])], End::Fin),
        ("a record of an unknown kind", vec![Say::Record(99, vec![1, 2, 3])], End::Fin),
        ("a ChangeCipherSpec", vec![Say::Record(20, vec![1])], End::Fin),
    ];
    if is_tls13 {
        // A request for our certificate after the handshake (RFC 8446, section 4.6.2): never offered, so never answered.
        all.push(("a request for a certificate", vec![Say::Record(22, vec![13, 0, 0, 3, 0, 0, 0])], End::Fin));
        all.push(("a change of keys", vec![Say::Record(22, vec![24, 0, 0, 1, 0]), Say::Corrupt], End::Fin));
    }
    all
}

/// By RFC 8446, section 6, and RFC 5246, section 7.2.
const ALERTS: [u8; 18] = [10, 20, 21, 22, 30, 40, 47, 50, 51, 60, 70, 71, 80, 86, 90, 100, 109, 110];
/// Some of those that are about our certificate: each halts the agency for longer.
const ABOUT_CERTIFICATES: [u8; 4] = [42, 46, 49, 116];

/// The machine is content with what it has done.
pub const ENDS: [&str; 3] = ["parked", "uncertain", "cancelled"];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_in_the_place_of_an_answer_what_may_be_done_once_only_is_uncertain() {
    for version in VERSIONS {
        let (env, agency) = env_with_raw_agency(version, hasty).await;
        let is_tls13 = version == &rustls::version::TLS13;
        let mut all = in_the_place_of_an_answer(is_tls13);
        all.extend(ALERTS.map(|alert| ("an alert", vec![Say::Alert(alert)], End::Fin)));
        all.extend(ABOUT_CERTIFICATES.map(|alert| ("an alert", vec![Say::Alert(alert)], End::Fin)));
        for (name, says, end) in all {
            agency.acts(Act { when: When::AfterRequest, says: says.clone(), end });
            let before = agency.requests();
            let id = env.post("civil-status-extract").await;
            let shown = env.ends(&id, "uncertain").await;
            let label = format!("{version:?}, {name} {says:?}: {shown:#}");
            assert_eq!((agency.requests() - before, &shown["attempts"]), (1, &1.into()), "{label}");
            assert_eq!(code(&shown) == "bus.identity.refused-late", refuses(&says), "{label}");
            let text = shown["fault"]["text"].as_str().unwrap();
            assert!(!text.contains("Nothing was sent") && !text.contains("has done nothing"), "{label}");
        }
        env.leave().await;
    }
}

fn refuses(says: &[Say]) -> bool {
    matches!(says, [Say::Alert(alert)] if ABOUT_CERTIFICATES.contains(alert))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_on_a_new_connection_before_the_request_leaves_no_doubt_and_is_tried_again() {
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS13, hasty).await;
    agency.gives_tickets(0);
    let mut all = in_the_place_of_an_answer(true);
    // After these a server may still wait for the request.
    all.retain(|(name, ..)| !matches!(*name, "silence" | "an empty record" | "a ChangeCipherSpec"));
    all.extend(ALERTS.map(|alert| ("an alert", vec![Say::Alert(alert)], End::Fin)));
    for (name, says, end) in all {
        agency.acts(Act { when: When::BeforeRequest, says: says.clone(), end });
        let id = env.post("civil-status-extract").await;
        let shown = env.until(&id, &["retrying", "parked"]).await;
        assert!(code(&shown) == "network.connect" || code(&shown) == "network.tls", "{name} {says:?}: {shown:#}");
        cancelled(&env, &id).await;
        assert_eq!(agency.requests(), 0, "{name}");
    }
    // Longer than the exchange may take: the connection is still not there when the time is up.
    for end in [End::Silence, End::Fin, End::Reset] {
        agency.acts(Act { when: When::InsteadOfHandshake, says: Vec::new(), end });
        let id = env.post("civil-status-extract").await;
        let shown = env.until(&id, &["retrying", "parked"]).await;
        assert_eq!(code(&shown), "network.connect", "{end:?}: {shown:#}");
        cancelled(&env, &id).await;
    }
    env.leave().await;
}

/// Between two of its attempts.
async fn cancelled(env: &TestEnvironment, id: &str) {
    while env.cancel(id).await.0 != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_effects_go_their_ways_after_an_alert() {
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS13, |name, text| {
        hasty(name, text).replace("effect = \"once\"", "effect = \"idempotent\"")
    })
    .await;
    for says in [Say::Corrupt, Say::Plain, Say::Alert(40)] {
        agency.acts(Act { when: When::AfterRequest, says: vec![says.clone()], end: End::Fin });
        for service in ["person-lookup", "civil-status-extract"] {
            let before = agency.requests();
            let id = env.post(service).await;
            until(async || agency.requests() - before > 2).await;
            let shown = env.until(&id, &["retrying", "parked"]).await;
            assert_eq!((code(&shown), &shown["state"]), ("network.tls-broken", &"retrying".into()), "{shown:#}");
            agency.acts(Act { when: When::AfterRequest, says: vec![STAYS], end: End::Stay });
            env.ends(&id, "parked").await;
            agency.acts(Act { when: When::AfterRequest, says: vec![says.clone()], end: End::Fin });
        }
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_negotiates_again_is_named_and_its_agency_told_what_to_change() {
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS12, hasty).await;
    // Whatever the server makes of the no that it gets.
    let ends = [(vec![Say::Alert(40)], End::Fin), (vec![], End::Reset), (vec![], End::Fin), (vec![], End::Silence)];
    for (more, end) in ends {
        let says = [vec![Say::Record(22, vec![0, 0, 0, 0])], more].concat();
        agency.acts(Act { when: When::AfterRequest, says, end });
        let id = env.post("civil-status-extract").await;
        let shown = env.ends(&id, "uncertain").await;
        assert_eq!(code(&shown), "agency.tls.renegotiation", "{end:?}: {shown:#}");
    }
    assert_eq!(agency.requests(), 4);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_of_our_certificate_halts_the_agency_and_nothing_is_burnt_until_it_is_taken_again() {
    for version in VERSIONS {
        let (env, agency) = env_with_raw_agency(version, hasty).await;
        let keys = env.stack.secrets().join("simulators");
        let other = keys.join("legal-events/client-ca.pem");
        agency.trusts(&keys.join(REGISTRY), &other, version);
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(env.post("civil-status-extract").await);
        }
        let is_said = async |path: &str, text: &str| env.operations(path).await.replace(": ", ":").contains(text);
        until(async || is_said("/metrics", "punte_agency_halted{agency=\"civil-registry\"} 1").await).await;
        assert!(is_said("/healthz/ready", "The agency does not accept the bus's certificate").await);
        tokio::time::sleep(Duration::from_millis(500)).await;
        for id in &ids {
            let shown = env.show(id).await;
            assert!(matches!(shown["state"].as_str(), Some("accepted" | "queued" | "retrying")), "{shown:#}");
        }
        assert_eq!(agency.requests(), 0);
        agency.trusts(&keys.join(REGISTRY), &keys.join(REGISTRY).join("client-ca.pem"), version);
        for id in &ids {
            env.ends(id, "uncertain").await;
        }
        assert_eq!(agency.requests(), 5);
        assert!(is_said("/metrics", "punte_agency_halted{agency=\"civil-registry\"} 0").await);
        env.leave().await;
    }
}

/// An answer that nobody can believe, and a connection that stays.
pub const STAYS: Say = Say::Http("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_done_once_only_takes_no_connection_that_was_idle_for_more_than_a_second() {
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS13, hasty).await;
    agency.acts(Act { when: When::AfterRequest, says: vec![STAYS], end: End::Stay });
    let post = async |service: &str, connections: u64| {
        let id = env.post(service).await;
        env.until(&id, &ENDS).await;
        assert_eq!(agency.handshakes(), connections, "{service}");
    };
    post("civil-status-extract", 1).await;
    post("civil-status-extract", 1).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    post("civil-status-extract", 2).await;
    post("person-lookup", 3).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    post("person-lookup", 3).await;
    env.leave().await;
}

/// Below the head's other keys, the address of something that changes nothing.
pub fn with_probe(name: &str, text: String) -> String {
    let text = hasty(name, text);
    if name == REGISTRY { text.replace("[seal]\n", "[probe]\npath = \"/health\"\n\n[seal]\n") } else { text }
}

/// As nginx answers whoever shows no certificate that it takes.
pub const NO_CERTIFICATE: &str =
    "HTTP/1.1 400 Bad Request\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>";

/// The exit code of `punte check --online`, and what it says.
fn checked_online(env: &TestEnvironment) -> (Option<i32>, String) {
    let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_punte"));
    let output = check.args(["check", "--online", "--config"]).arg(env.stack.config()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_online_meets_each_agencys_server_and_says_in_words_what_is_wrong() {
    let version = &rustls::version::TLS13;
    let (env, agency) = env_with_raw_agency(version, with_probe).await;
    let keys = env.stack.secrets().join("simulators");
    let trusts = |authority: &str| agency.trusts(&keys.join(REGISTRY), &keys.join(authority), version);
    let answers = |text| agency.acts(Act { when: When::AfterRequest, says: vec![Say::Http(text)], end: End::Stay });
    let about = format!("agency {REGISTRY} at localhost:{}: ", agency.port);
    answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let (code, text) = checked_online(&env);
    let well =
        "was reached over TLS 1.3; it takes our certificate; the probe GET /registry/health was answered with 200";
    assert!(code == Some(0) && text.contains(&format!("{about}{well}\n")), "{text}");
    assert!(text.contains("it takes our certificate; no probe is declared"), "{text}");

    answers("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
    let (code, text) = checked_online(&env);
    assert!(code == Some(1) && text.contains("was answered with 403: the agency does not let us in → ask"), "{text}");

    answers(NO_CERTIFICATE);
    let (code, text) = checked_online(&env);
    let refused = "was answered with 400 and a page for people: most likely what stands before the agency does not let us in → ask";
    assert!(code == Some(1) && text.contains(refused), "{text}");

    answers("HTTP/1.1 302 Found\r\nlocation: https://elsewhere.invalid/\r\ncontent-length: 0\r\n\r\n");
    let (code, text) = checked_online(&env);
    assert!(
        code == Some(1) && text.contains("was answered with 302: nobody answers there for the agency → "),
        "{text}"
    );

    trusts("legal-events/client-ca.pem");
    let (code, text) = checked_online(&env);
    let ill = format!("{about}the server says that it refuses our certificate: it sent the alert ");
    assert!(code == Some(1) && text.contains(&ill) && text.contains(" → ask the agency whether"), "{text}");

    agency.acts(Act { when: When::InsteadOfHandshake, says: Vec::new(), end: End::Fin });
    let (code, text) = checked_online(&env);
    assert!(code == Some(1) && text.contains(&format!("{about}no connection: ")), "{text}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_server_proves_nothing_by_itself_the_declared_probe_goes_first_on_the_same_connection() {
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS13, with_probe).await;
    agency.gives_tickets(0);
    agency.acts(Act { when: When::AfterRequest, says: vec![STAYS], end: End::Stay });
    let id = env.post("civil-status-extract").await;
    env.ends(&id, "uncertain").await;
    assert_eq!((agency.handshakes(), agency.requests()), (1, 2), "the probe and the request");
    // A refusal that comes late meets the probe, and not the request.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    agency.acts(Act { when: When::AfterRequest, says: vec![Say::Alert(49)], end: End::Fin });
    let id = env.post("civil-status-extract").await;
    until(async || env.operations("/metrics").await.contains("punte_agency_halted{agency=\"civil-registry\"} 1")).await;
    let shown = env.show(&id).await;
    assert_ne!(shown["state"], "uncertain", "{shown:#}");
    agency.acts(Act { when: When::AfterRequest, says: vec![STAYS], end: End::Stay });
    env.ends(&id, "uncertain").await;
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_failed_while_its_proof_was_waited_for_proves_nothing_of_the_next() {
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS13, with_probe).await;
    agency.gives_tickets(0);
    agency.acts(Act { when: When::BeforeRequest, says: Vec::new(), end: End::Fin });
    let id = env.post("civil-status-extract").await;
    let shown = env.until(&id, &["retrying"]).await;
    assert!(code(&shown).starts_with("network.") && agency.requests() == 0, "{shown:#}");
    agency.acts(Act { when: When::AfterRequest, says: vec![STAYS], end: End::Stay });
    env.ends(&id, "uncertain").await;
    assert_eq!(agency.requests(), 2, "the probe and the request");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_and_its_request_share_a_connection_though_none_is_kept() {
    let none_kept = |agency: &str, text: String| {
        with_probe(agency, text).replace("concurrency = 8", "concurrency = 8\nkeep_alive_secs = 0")
    };
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS13, none_kept).await;
    agency.gives_tickets(0);
    agency.acts(Act { when: When::AfterRequest, says: vec![STAYS], end: End::Stay });
    let id = env.post("civil-status-extract").await;
    env.ends(&id, "uncertain").await;
    assert_eq!((agency.handshakes(), agency.requests()), (1, 2), "the probe and the request");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_done_once_only_is_not_sent_after_a_probe_that_finds_the_agency_unwell() {
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS13, with_probe).await;
    agency.gives_tickets(0);
    agency.acts(Act { when: When::AfterRequest, says: vec![STAYS], end: End::Stay });
    for (health, expected) in [
        ("HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", "agency.away"),
        ("HTTP/1.1 429 X\r\ncontent-length: 0\r\n\r\n", "agency.away"),
        ("HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n", "agency.away"),
        ("HTTP/1.1 496 X\r\ncontent-length: 0\r\n\r\n", "bus.identity.refused"),
        (NO_CERTIFICATE, "bus.identity.refused"),
    ] {
        agency.says_of_its_health(health);
        let id = env.post("civil-status-extract").await;
        let shown = env.until(&id, &["retrying", "uncertain", "parked"]).await;
        assert_eq!((code(&shown), &shown["state"]), (expected, &"retrying".into()), "{health}: {shown:#}");
        assert_eq!(agency.requests(), 0, "{health}");
        cancelled(&env, &id).await;
        let is_halted =
            async || env.operations("/metrics").await.contains("agency_halted{agency=\"civil-registry\"} 1");
        if expected.starts_with("bus.") {
            until(is_halted).await;
        }
        agency.says_of_its_health("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        until(async || !is_halted().await).await;
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_ours_that_has_expired_is_noticed_before_anything_is_sent() {
    let env = TestEnvironment::started().await;
    let now = jiff::Timestamp::now();
    let installation = punte::process::Installation::load(&env.stack.config(), now).unwrap();
    let line = installation.connections.get(&REGISTRY.parse().unwrap()).unwrap().unwrap();
    assert_eq!(line.check_identity(now).map_err(|fault| fault.code), Ok(()));
    let later = now + jiff::SignedDuration::from_hours(24 * 365 * 50);
    let fault = line.check_identity(later).unwrap_err();
    assert_eq!((fault.code, fault.verdict), (Code::IdentityUnusable, Verdict::Retry));
    env.leave().await;
}

/// Its worker meets it before the journal has noted that it was published.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_for_want_of_a_usable_key_goes_out_soon_after_there_is_one() {
    let clock = Arc::new(ManualClock::at(jiff::Timestamp::now()));
    let mut env = TestEnvironment::with_adapters(hasty, |plan| {
        plan.clock = clock.clone();
        plan.more_config = "[scheduler]\nlost_after_secs = 3600\n".into();
    })
    .await;
    env.stack.stop(Duration::from_secs(5)).await;
    let ca = env.stack.secrets().join("agencies").join(REGISTRY).join("ca.pem");
    let good = std::fs::read(&ca).unwrap();
    std::fs::write(&ca, "no certificate").unwrap();
    env.stack.start().await.unwrap();
    let id = env.post("civil-status-extract").await;
    let is_given_back = |shown: &Value| {
        let given_back = |change: &Value| change["cause"] == "given back before an attempt";
        shown["timeline"].as_array().unwrap().iter().any(given_back)
    };
    until(async || is_given_back(&env.show(&id).await)).await;
    // For whoever notes late that it was published.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let shown = env.show(&id).await;
    assert_eq!((&shown["state"], &shown["attempts"]), (&"accepted".into(), &0.into()), "{shown:#}");
    std::fs::write(&ca, good).unwrap();
    until(async || !env.operations("/healthz/ready").await.contains("is stopped")).await;
    // A minute is how long it takes at least until a key may be usable.
    clock.advance(jiff::SignedDuration::from_secs(61));
    env.ends(&id, "completed").await;
    assert_eq!(env.effects(REGISTRY), 1);
    env.leave().await;
}
