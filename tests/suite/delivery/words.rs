//! Whatever an agency's server does to a connection is told in plain words: no library's own text, name or address of its
//! documentation reaches a person.

use crate::{
    environment::TestEnvironment,
    raw_agency::{Act, End, RawAgency, Say, When},
};
use punte::{domain::AgencyName, process::Installation};
use std::{
    path::Path,
    sync::{Arc, Mutex},
};

const REGISTRY: &str = "civil-registry";

/// Below the head's other keys, the address of something that changes nothing.
fn with_probe(name: &str, text: String) -> String {
    let text = text.replace("timeout_secs = 5", "timeout_secs = 0.3").replace("failures = 5", "failures = 1000");
    if name == REGISTRY { text.replace("[seal]\n", "[probe]\npath = \"/health\"\n\n[seal]\n") } else { text }
}

async fn env_with(agency_of: impl Fn(&Path) -> RawAgency + Send + 'static) -> (TestEnvironment, RawAgency) {
    let agency = Arc::new(Mutex::new(None));
    let opened = agency.clone();
    let begin = move |keys: &Path| {
        let agency = agency_of(keys);
        let endpoint = format!("https://localhost:{}/registry", agency.port);
        *opened.lock().unwrap() = Some(agency);
        endpoint
    };
    let env = TestEnvironment::with_adapters(with_probe, |plan| {
        plan.retry = "first_wait_secs = 0.1\nmax_wait_secs = 0.2\nmax_attempts = 2\n";
        plan.external_agencies.insert(REGISTRY.parse::<AgencyName>().unwrap(), Box::new(begin));
    });
    let env = env.await;
    let agency = agency.lock().unwrap().take().unwrap();
    (env, agency)
}

/// What only who programs with libraries can use.
const FOREIGN: [&str; 12] = [
    "docs.rs",
    "http://",
    "https://",
    "rustls",
    "hyper",
    "tokio",
    "eof",
    "EOF",
    "os error",
    "peer closed",
    "message completed",
    "number ",
];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_agencys_server_does_is_told_without_any_librarys_words() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (env, agency) = env_with(move |keys| RawAgency::open(keys, version)).await;
        let connections = Installation::load(&env.stack.config(), jiff::Timestamp::now()).unwrap().connections;
        let connection = connections.get(&REGISTRY.parse().unwrap()).unwrap().unwrap();
        let says = [
            vec![],
            vec![Say::Plain],
            vec![Say::Corrupt],
            vec![Say::HalfRecord],
            vec![Say::Http("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n<half")],
            vec![Say::Http("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n")],
            vec![Say::Http("hello\r\n\r\n")],
            vec![Say::Record(22, vec![2, 0, 0, 1, 0])],
        ];
        let alerts =
            [0, 10, 21, 30, 40, 48, 60, 80, 86, 90, 100, 111, 115, 121, 200].map(|alert| vec![Say::Alert(alert)]);
        let ends = [End::Fin, End::Reset];
        for when in [When::InsteadOfHandshake, When::BeforeRequest, When::AfterRequest] {
            for (said, end) in says.iter().chain(&alerts).flat_map(|said| ends.map(|end| (said, end))) {
                if when == When::InsteadOfHandshake && !said.is_empty() {
                    continue;
                }
                agency.acts(Act { when, says: said.clone(), end });
                let Err(failure) = connection.check_health().await else { continue };
                let text = failure.to_string();
                let foreign: Vec<_> = FOREIGN.iter().filter(|word| text.contains(*word)).collect();
                assert!(foreign.is_empty() && text.len() > 20, "{when:?} {said:?} {end:?}: {foreign:?} in: {text}");
            }
        }
        env.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_ways_to_break_off_have_words_of_their_own() {
    let (env, agency) = env_with(|keys| RawAgency::open(keys, &rustls::version::TLS12)).await;
    let connections = Installation::load(&env.stack.config(), jiff::Timestamp::now()).unwrap().connections;
    let connection = connections.get(&REGISTRY.parse().unwrap()).unwrap().unwrap();
    let half = Say::Http("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n<half");
    for (when, says, end, told) in [
        (When::InsteadOfHandshake, vec![], End::Fin, "no connection: the other side has closed it in the middle"),
        (When::InsteadOfHandshake, vec![], End::Reset, "no connection: the other side has reset it"),
        (When::AfterRequest, vec![], End::Fin, "the connection broke: the other side has closed it in the middle"),
        (
            When::AfterRequest,
            vec![Say::Alert(0)],
            End::Fin,
            "the connection broke: the other side has closed it before its answer was whole",
        ),
        (
            When::AfterRequest,
            vec![Say::Http("hello\r\n\r\n")],
            End::Fin,
            "the connection broke: what it says is no answer of HTTP/1.1",
        ),
        (
            When::AfterRequest,
            vec![Say::Alert(86)],
            End::Fin,
            "the secure connection broke: it sent the alert inappropriate_fallback",
        ),
        (
            When::AfterRequest,
            vec![Say::Alert(100)],
            End::Fin,
            "the secure connection broke: it sent the alert no_renegotiation",
        ),
    ] {
        agency.acts(Act { when, says, end });
        assert_eq!(connection.check_health().await.unwrap_err().problem, told, "{when:?} {end:?}");
    }
    // Of a probe the status is enough.
    agency.acts(Act { when: When::AfterRequest, says: vec![half], end: End::Fin });
    assert!(connection.check_health().await.unwrap().text.ends_with("was answered with 200"));
    let mut env = env;
    env.stack.simulators.remove(&"legal-events".parse().unwrap()).unwrap().stop().await;
    let connection = connections.get(&"legal-events".parse().unwrap()).unwrap().unwrap();
    assert_eq!(connection.check_health().await.unwrap_err().problem, "no connection: nobody listens there");
    env.leave().await;
}
