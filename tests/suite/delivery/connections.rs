//! The connections below delivery: how long they are kept, what happens to a request that meets the end of one, and what our
//! own certificate's end does to an agency.

use super::moments::{REGISTRY, STAYS, env_with_raw_agency, hasty, with_probe};
use crate::{
    environment::{TestEnvironment, until},
    raw_agency::{Act, End, RawAgency, Say, When},
};
use punte::{
    http_client::{Care, Client, ClientSettings, Outgoing, SendFailure, attentive_provider},
    kit::dev_pki::{self, DevAgency, DevPki},
    trust::{AgencyRoots, Algorithm, ClientTls, Identity, client_config},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

#[tokio::test(flavor = "multi_thread")]
async fn without_keep_alive_each_request_has_a_connection_of_its_own() {
    let none_kept = |agency: &str, text: String| {
        hasty(agency, text).replace("concurrency = 8", "concurrency = 8\nkeep_alive_secs = 0")
    };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (env, agency) = env_with_raw_agency(version, none_kept).await;
        agency.acts(Act { when: When::AfterRequest, says: vec![STAYS], end: End::Stay });
        for service in ["civil-status-extract", "person-lookup", "civil-status-extract", "person-lookup"] {
            let before = agency.requests();
            let id = env.post(service).await;
            env.until(&id, &super::moments::ENDS).await;
            assert!(agency.requests() > before, "{service}");
            assert_eq!(agency.handshakes(), agency.requests(), "{version:?} {service}");
        }
        env.leave().await;
    }
}

/// Agency and client for as many exchanges as anybody likes.
struct Race {
    agency: RawAgency,
    client: Client,
    /// What came of each request, by the line that the agency reads of it.
    outcomes: BTreeMap<String, Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    NotSent,
    Unknown,
}

impl Race {
    fn open(pki: &DevPki) -> Self {
        let agency = RawAgency::open(&pki.dir.join("simulators/raw"), &rustls::version::TLS13);
        let (certificate, key) = (pki.agency("raw", "client.pem"), pki.agency("raw", "client.key"));
        let identity = Identity::load(&certificate, &key, jiff::Timestamp::now()).unwrap();
        let roots = AgencyRoots::load(&pki.agency("raw", "ca.pem")).unwrap();
        let provider = Some(attentive_provider());
        let wanted = ClientTls { identity: Some(&identity), provider, alpn: &[b"http/1.1"], ..ClientTls::default() };
        let settings = ClientSettings {
            tls: client_config(&roots, wanted).unwrap(),
            connect_timeout: Duration::from_secs(5),
            answer_max_bytes: 1024,
            idle_connections: 4,
            keep_alive: Duration::from_secs(30),
            is_probed: true,
        };
        Self { agency, client: Client::new(settings).unwrap(), outcomes: BTreeMap::new() }
    }

    fn outgoing(&self, path: &str) -> Outgoing {
        Outgoing {
            method: http::Method::POST,
            url: format!("https://localhost:{}{path}", self.agency.port).parse().unwrap(),
            headers: http::HeaderMap::new(),
            body: "an effect".into(),
        }
    }

    async fn send(&mut self, care: Care) -> Outcome {
        let path = format!("/{}", self.outcomes.len());
        let outgoing = self.outgoing(&path);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let outcome = match self.client.exchange(outgoing, deadline, care).await {
            Ok(_) => Outcome::Answered,
            Err(SendFailure::NotSent(_)) => Outcome::NotSent,
            Err(SendFailure::Unknown(_) | SendFailure::Answered { .. }) => Outcome::Unknown,
        };
        self.outcomes.insert(format!("POST {path} HTTP/1.1"), outcome);
        outcome
    }

    /// Each request was carried out at most once, and as often as was said.
    fn audit(&self) {
        let lines = self.agency.lines();
        for (line, outcome) in &self.outcomes {
            let effects = lines.iter().filter(|read| *read == line).count();
            let is_true = match outcome {
                Outcome::Answered => effects == 1,
                Outcome::NotSent => effects == 0,
                Outcome::Unknown => effects <= 1,
            };
            assert!(is_true, "{line} is {outcome:?}, and was carried out {effects} times");
        }
    }

    fn count(&self, wanted: Outcome) -> usize {
        self.outcomes.values().filter(|outcome| **outcome == wanted).count()
    }
}

fn pki(folder: &std::path::Path) -> DevPki {
    let agency = DevAgency { name: "raw".into(), signing: Algorithm::EcdsaSha256 };
    dev_pki::make(folder, &[agency], jiff::Timestamp::now()).unwrap()
}

const ROUNDS: u32 = 150;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_closed_as_we_send_never_has_a_request_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let pki = pki(folder.path());
    for care in [Care::Utmost, Care::Usual] {
        let mut race = Race::open(&pki);
        // Before, while and after the next request is on its way.
        for round in 0..ROUNDS {
            let open_for = Duration::from_micros(u64::from(round % 30) * 100);
            race.agency.acts(Act { when: When::AfterRequest, says: vec![STAYS], end: End::CloseAfter(open_for) });
            race.send(care).await;
            tokio::time::sleep(Duration::from_micros(u64::from(round % 7) * 250)).await;
            race.send(care).await;
        }
        race.audit();
        println!("{care:?}: {} answered, {} unknown", race.count(Outcome::Answered), race.count(Outcome::Unknown));
        assert!(race.count(Outcome::Answered) > ROUNDS as usize / 4, "{care:?}: hardly any is answered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_read_before_the_connection_closed_is_unknown_and_never_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let pki = pki(folder.path());
    for care in [Care::Utmost, Care::Usual] {
        let mut race = Race::open(&pki);
        race.agency.acts(Act { when: When::AfterRequest, says: vec![STAYS], end: End::CloseAtSecond });
        for _ in 0..ROUNDS {
            race.send(care).await;
        }
        race.audit();
        assert_eq!(race.agency.lines().len(), ROUNDS as usize, "{care:?}: each was read once");
        let [answered, unknown] = [Outcome::Answered, Outcome::Unknown].map(|outcome| race.count(outcome));
        assert_eq!(answered + unknown, ROUNDS as usize, "{care:?}");
        // On each connection the second is lost; a few find that the first has not given its connection back yet.
        assert!((ROUNDS as usize / 3..=ROUNDS as usize / 2).contains(&unknown), "{care:?}: {unknown} are lost");
    }
}

/// Sends a request that takes none but a proved connection, and tells whether it had one.
async fn is_proved(race: &mut Race) -> bool {
    match race.send(Care::Proved).await {
        Outcome::Answered => true,
        Outcome::NotSent => false,
        Outcome::Unknown => panic!("nothing broke"),
    }
}

async fn probe(race: &Race) -> bool {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    race.client.probe(race.outgoing("/health"), deadline).await.unwrap().is_left_open
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_wants_a_proved_connection_goes_over_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut race = Race::open(&pki(folder.path()));
    let says = |race: &Race, say| race.agency.acts(Act { when: When::AfterRequest, says: vec![say], end: End::Stay });
    race.agency.gives_tickets(0);
    says(&race, STAYS);
    assert!(!is_proved(&mut race).await, "there is no connection");
    race.send(Care::Usual).await;
    assert!(!is_proved(&mut race).await, "its connections are others");
    assert!(probe(&race).await);
    assert!(is_proved(&mut race).await, "the probe has proved one");
    assert!(is_proved(&mut race).await, "and it stays proved");
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert!(!is_proved(&mut race).await, "it may be gone when it is needed");
    says(&race, Say::Http("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"));
    assert!(!probe(&race).await);
    assert!(!is_proved(&mut race).await, "its connection is closed");
    race.agency.gives_tickets(2);
    assert_eq!(race.send(Care::Utmost).await, Outcome::Answered, "a ticket is a proof, too");
    race.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_go_at_once_new_connections_are_proved_by_a_probe_before_they_carry_what_may_be_done_once_only() {
    let (env, agency) = env_with_raw_agency(&rustls::version::TLS13, with_probe).await;
    agency.gives_tickets(0);
    agency.acts(Act { when: When::AfterRequest, says: vec![STAYS], end: End::Stay });
    for _ in 0..3 {
        let ids = futures_util::future::join_all((0..40).map(|_| env.post("civil-status-extract"))).await;
        for id in &ids {
            env.ends(id, "uncertain").await;
        }
        // Until none is left that is idle.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let openings = agency.openings();
    // A probe whose new connection is ready at the very moment at which it is given another one leaves it to whoever comes.
    // Connections are new at the beginning of a round only, and that moment is rare: one a round is let pass. Without probes it
    // would be as many as requests go at once, up to eight a round.
    let unproved = openings.iter().filter(|line| !line.contains("/health")).count();
    assert!(unproved <= 3, "{openings:?}");
    let submitted = agency.lines().iter().filter(|line| !line.contains("/health")).count();
    assert_eq!(submitted, 120);
    println!("{} connections, {} requests", openings.len(), agency.requests());
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_probe_that_is_answered_the_status_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let race = Race::open(&pki(folder.path()));
    for (head, end) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n", End::Stay),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal", End::Fin),
    ] {
        race.agency.acts(Act { when: When::AfterRequest, says: vec![Say::Http(head)], end });
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        assert_eq!(race.client.probe(race.outgoing("/health"), deadline).await.unwrap().received.status, 200, "{head}");
    }
}

/// A client certificate of ours, by the agency's own authority, that is valid for so long from now.
fn renew(env: &TestEnvironment, valid_for: Duration) {
    let secrets = env.stack.secrets();
    let text = |path: &str| std::fs::read_to_string(secrets.join(path)).unwrap();
    let authority = rcgen::KeyPair::from_pem(&text(&format!("authorities/agency-{REGISTRY}.key"))).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&text(&format!("agencies/{REGISTRY}/ca.pem")), authority).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    let now = Duration::from_secs(jiff::Timestamp::now().as_second().try_into().unwrap());
    parameters.not_before = rcgen::date_time_ymd(1970, 1, 1) + now - Duration::from_secs(60);
    parameters.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + valid_for;
    parameters.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    parameters.use_authority_key_identifier_extension = true;
    let folder = secrets.join("agencies").join(REGISTRY);
    std::fs::write(folder.join("client.pem"), parameters.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    std::fs::write(folder.join("client.key"), key.serialize_pem()).unwrap();
    env.stack.process().unwrap().reload();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_our_certificate_has_expired_nothing_is_sent_to_that_agency_until_a_new_one_is_there() {
    let env = TestEnvironment::planned(|plan| plan.more_config = "[scheduler]\nlost_after_secs = 2\n".into()).await;
    renew(&env, Duration::from_secs(5));
    let agency = env.simulator(REGISTRY);
    let id = env.post("person-lookup").await;
    env.ends(&id, "completed").await;
    let before = agency.requests();
    let halted = "agency_halted{agency=\"civil-registry\"} 1";
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut waiting = Vec::new();
    for service in ["civil-status-extract", "person-lookup", "civil-status-extract"] {
        waiting.push(env.post(service).await);
    }
    until(async || env.operations("/metrics").await.contains(halted)).await;
    let ready = env.operations("/healthz/ready").await;
    assert!(ready.contains("our TLS client certificate is valid from") && ready.contains("and not now"), "{ready}");
    // Others are served.
    let other = env.post("legal-event").await;
    env.ends(&other, "completed").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(agency.requests(), before, "something was sent");
    for id in &waiting {
        let shown = env.show(id).await;
        assert!(matches!(shown["state"].as_str(), Some("accepted" | "queued")), "{shown:#}");
        assert!(shown["fault"].is_null(), "it is no failure of the submission: {shown:#}");
    }
    renew(&env, Duration::from_secs(3600));
    let begun = Instant::now();
    for id in &waiting {
        env.ends(id, "completed").await;
    }
    println!("it went on after {:?}", begun.elapsed());
    assert_eq!(agency.requests(), before + 3);
    until(async || !env.operations("/metrics").await.contains(halted)).await;
    env.leave().await;
}
