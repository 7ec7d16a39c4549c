//! Strangers on the way: whoever can change what goes over the line to an agency, and has nobody's key, cuts it off; more they
//! cannot do.

use crate::{
    environment::{TestEnvironment, until},
    raw_agency::RawAgency,
};
use punte::domain::AgencyName;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

const REGISTRY: &str = "civil-registry";
/// `unknown_ca`, fatal, in clear text.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 48];

fn hasty(_: &str, text: String) -> String {
    text.replace("cooldown_secs = 15", "cooldown_secs = 0.3").replace("failures = 5", "failures = 1000")
}

/// What stands on the way to the registry.
struct OnTheWay {
    port: u16,
    is_at_work: Arc<AtomicBool>,
    alerts: Arc<AtomicU64>,
}

impl OnTheWay {
    /// `serve`: one connection, while the stranger is at work; whether an alert was said.
    fn opened(registry: u16, serve: impl Fn(&mut TcpStream) -> std::io::Result<bool> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_at_work, alerts) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let (at_work, counted, serve) = (is_at_work.clone(), alerts.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (at_work, counted, serve) = (at_work.clone(), counted.clone(), serve.clone());
                std::thread::spawn(move || {
                    let mut stream = stream.ok()?;
                    if !at_work.load(Ordering::Relaxed) {
                        return passed_on(stream, registry).ok();
                    }
                    if serve(&mut stream).ok()? {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    stream.shutdown(Shutdown::Write).ok()
                });
            }
        });
        Self { port, is_at_work, alerts }
    }

    fn alerts(&self) -> u64 {
        self.alerts.load(Ordering::Relaxed)
    }

    fn goes_away(&self) {
        self.is_at_work.store(false, Ordering::Relaxed);
    }
}

/// Everything, in both directions, unchanged.
fn passed_on(office: TcpStream, registry: u16) -> std::io::Result<()> {
    let agency = TcpStream::connect(("127.0.0.1", registry))?;
    let (mut from, mut to) = (agency.try_clone()?, office.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (office, agency);
    std::io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}

fn record(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut record = vec![0; 5];
    stream.read_exact(&mut record)?;
    let length = u16::from_be_bytes([record[3], record[4]]);
    record.resize(5 + usize::from(length), 0);
    stream.read_exact(&mut record[5..])?;
    Ok(record)
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], body].concat()
}

/// As a server of TLS 1.2 begins that shows the registry's certificate, which everybody may have, and cannot sign
/// (RFC 5246, section 7.4; RFC 8422, section 5.4). It asks for a certificate of ours before anybody could see that.
fn forged_flight(certificate: &CertificateDer<'_>) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes()[1..].to_vec();
    let hello = [&[3, 3][..], &[7; 32], &[0, 0xc0, 0x2b, 0, 0, 9, 0xff, 1, 0, 1, 0, 0, 0x17, 0, 0]].concat();
    let one = [length(certificate), certificate.to_vec()].concat();
    let chain = [length(&one), one].concat();
    let keys = [&[3, 0, 0x1d, 32][..], &[9; 32], &[4, 3, 0, 71], &[5; 71]].concat();
    let messages =
        [handshake(2, &hello), handshake(11, &chain), handshake(12, &keys), handshake(13, &[1, 64, 0, 2, 4, 3, 0, 0])];
    let messages = messages.concat();
    [&[22, 3, 3], &u16::try_from(messages.len()).unwrap().to_be_bytes()[..], &messages].concat()
}

/// An environment whose registry lies behind a stranger.
async fn env_behind(
    stranger: impl Fn(&Path, u16) -> OnTheWay + Send + 'static,
) -> (TestEnvironment, RawAgency, OnTheWay) {
    let places = Arc::new(Mutex::new(None));
    let opened = places.clone();
    let begin = move |keys: &Path| {
        let agency = RawAgency::open(keys, &rustls::version::TLS12);
        let between = stranger(keys, agency.port);
        let endpoint = format!("https://localhost:{}/registry", between.port);
        *opened.lock().unwrap() = Some((agency, between));
        endpoint
    };
    let env = TestEnvironment::with_adapters(hasty, |plan| {
        plan.retry = "first_wait_secs = 0.1\nmax_wait_secs = 0.2\nmax_attempts = 2\n";
        plan.external_agencies.insert(REGISTRY.parse::<AgencyName>().unwrap(), Box::new(begin));
    });
    let env = env.await;
    let (agency, between) = places.lock().unwrap().take().unwrap();
    (env, agency, between)
}

async fn is_halted(env: &TestEnvironment) -> bool {
    env.operations("/metrics").await.contains("punte_agency_halted{agency=\"civil-registry\"} 1")
}

/// The part of readiness that tells of our certificate.
async fn told(env: &TestEnvironment) -> String {
    let ready = env.operations("/healthz/ready").await;
    let (_, told) = ready.split_once("\"certificate for civil-registry\"").unwrap();
    told.split_once('}').unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_about_our_certificate_by_a_server_that_has_not_proved_itself_refuses_nothing() {
    let (env, agency, stranger) = env_behind(|keys, registry| {
        let certificate = CertificateDer::from_pem_file(keys.join("server.pem")).unwrap();
        let flight = forged_flight(&certificate);
        OnTheWay::opened(registry, move |office| {
            record(office)?;
            office.write_all(&[&flight[..], &ALERT].concat())?;
            Ok(true)
        })
    })
    .await;
    let ids = [env.post("civil-status-extract").await, env.post("person-lookup").await];
    for id in &ids {
        let shown = env.until(id, &["retrying", "parked", "uncertain"]).await;
        assert_eq!(
            (&shown["state"], &shown["fault"]["code"]),
            (&"retrying".into(), &"network.tls".into()),
            "{shown:#}"
        );
    }
    until(async || stranger.alerts() > 3).await;
    assert!(!is_halted(&env).await, "a stranger has halted the agency for all");
    assert_eq!(agency.requests(), 0);
    stranger.goes_away();
    until(async || agency.requests() >= 2).await;
    env.leave().await;
}

/// In TLS 1.2 an alert may come in clear text up to the server's Finished, and nobody can tell who has said it.
#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_is_put_into_an_honest_handshake_halts_the_agency_no_longer_than_to_the_next_health_check() {
    let (env, agency, stranger) = env_behind(|_, registry| {
        OnTheWay::opened(registry, move |office| {
            let mut agency = TcpStream::connect(("127.0.0.1", registry))?;
            let mut hello = record(office)?;
            agency.write_all(&hello)?;
            let (mut from, mut to) = (agency.try_clone()?, office.try_clone()?);
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            // Our side's next records answer to what the agency has signed.
            hello = record(office)?;
            assert_eq!(hello[0], 22);
            office.write_all(&ALERT)?;
            agency.shutdown(Shutdown::Both)?;
            Ok(true)
        })
    })
    .await;
    let id = env.post("person-lookup").await;
    until(async || is_halted(&env).await).await;
    assert!(told(&env).await.contains("the server says that it refuses our certificate"), "{}", told(&env).await);
    assert!(stranger.alerts() > 0 && agency.requests() == 0);
    stranger.goes_away();
    until(async || !is_halted(&env).await).await;
    until(async || agency.requests() > 0).await;
    assert_ne!(env.show(&id).await["fault"]["code"], "bus.identity.refused");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_that_has_refused_our_certificate_and_is_away_since_is_told_as_both() {
    let (env, agency, stranger) = env_behind(|_, registry| {
        // Nothing is said, and nothing passed on.
        OnTheWay::opened(registry, |_| Ok(false))
    })
    .await;
    stranger.goes_away();
    let keys = env.stack.secrets().join("simulators");
    agency.trusts(&keys.join(REGISTRY), &keys.join("legal-events/client-ca.pem"), &rustls::version::TLS12);
    env.post("person-lookup").await;
    until(async || is_halted(&env).await).await;
    stranger.is_at_work.store(true, Ordering::Relaxed);
    until(async || told(&env).await.contains("the last health check: ")).await;
    let text = told(&env).await;
    assert!(text.contains("the server says that it refuses our certificate: it sent the alert "), "{text}");
    assert!(text.contains("the last health check: no "), "{text}");
    env.leave().await;
}

/// A server that says something as soon as its side of the handshake has ended, in the same breath.
fn hasty_speaker(keys: &Path, version: &'static rustls::SupportedProtocolVersion, asked: Arc<AtomicU64>) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(keys.join("client-ca.pem")).unwrap()).unwrap();
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let chain = CertificateDer::pem_file_iter(keys.join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(keys.join("server.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let config = config.with_client_cert_verifier(clients.build().unwrap()).with_single_cert(chain, key).unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, asked) = (config.clone(), asked.clone());
            std::thread::spawn(move || {
                let (mut stream, mut session) = (stream.ok()?, rustls::ServerConnection::new(config).ok()?);
                while session.is_handshaking() {
                    while session.wants_write() && session.is_handshaking() {
                        session.write_tls(&mut stream).ok()?;
                    }
                    session.read_tls(&mut stream).ok()?;
                    session.process_new_packets().ok()?;
                }
                session.writer().write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").ok()?;
                let mut said = Vec::new();
                while session.wants_write() {
                    session.write_tls(&mut said).ok()?;
                }
                stream.write_all(&said).ok()?;
                while session.read_tls(&mut stream).ok()? > 0 {
                    let state = session.process_new_packets().ok()?;
                    if state.plaintext_bytes_to_read() > 0 {
                        asked.fetch_add(1, Ordering::Relaxed);
                        return None;
                    }
                }
                Some(())
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_before_it_was_asked_is_no_answer_and_nothing_is_sent_to_it() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (asked, counted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counter = asked.clone();
        let once = |name: &str, text: String| {
            let text = hasty(name, text);
            if name == REGISTRY { text.replace("effect = \"idempotent\"", "effect = \"once\"") } else { text }
        };
        let env = TestEnvironment::with_adapters(once, |plan| {
            plan.retry = "first_wait_secs = 0.1\nmax_wait_secs = 0.2\nmax_attempts = 2\n";
            let begin = move |keys: &Path| {
                format!("https://localhost:{}/registry", hasty_speaker(keys, version, counter.clone()))
            };
            plan.external_agencies.insert(REGISTRY.parse::<AgencyName>().unwrap(), Box::new(begin));
        })
        .await;
        for service in ["civil-status-extract", "person-lookup"] {
            let id = env.post(service).await;
            until(async || env.show(&id).await["attempts"].as_u64() > Some(5)).await;
            let shown = env.until(&id, &["retrying", "parked", "uncertain", "completed"]).await;
            let code = &shown["fault"]["code"];
            assert_eq!((&shown["state"], code), (&"retrying".into(), &"network.connect".into()), "{shown:#}");
            let journal = &env.stack.process().unwrap().journal;
            let record = journal.find(id.parse().unwrap()).await.unwrap().unwrap();
            let detail = record.progress.state.fault().map(|fault| fault.detail.clone()).unwrap_or_default();
            if detail.contains("spoke before it was asked") {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
        assert!(counted.load(Ordering::Relaxed) > 0, "{version:?}: it is not told in words");
        assert_eq!(asked.load(Ordering::Relaxed), 0, "{version:?}: a request was sent all the same");
        env.leave().await;
    }
}
