//! A hostile agency, or who has its keys, answers with whatever hurts a reader: each answer has its code, quickly, the
//! process lives on, and nothing that was not verified counts.

use super::outage::tried;
use crate::environment::TestEnvironment;
use http::{HeaderMap, HeaderName, StatusCode};
use jiff::{SignedDuration, Timestamp};
use punte::trust::{
    Algorithm, ClientTrust, ClientTrustFiles, HttpSignatureProfile, Identity, IdentityFiles, JwsForm, JwsProfile,
    KeyIdForm, Purpose, Reloading, WssProfile,
    http_signature::{self, HttpMessage, HttpStart},
    jws, strict_server_config, wss,
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Instant,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// What it answers next: the head after the status line, and the body.
#[derive(Clone, Default)]
struct Script {
    status: u16,
    head: String,
    body: Vec<u8>,
}

#[derive(Clone, Default)]
pub struct Hostile {
    script: Arc<Mutex<Script>>,
    keys: Arc<Mutex<PathBuf>>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Hostile {
    pub fn begin(&self, keys: &Path) -> u16 {
        *self.keys.lock().unwrap() = keys.to_owned();
        let now = Timestamp::now();
        let files = IdentityFiles {
            certificate: keys.join("server.pem"),
            key: keys.join("server.key"),
            purpose: Purpose::TlsServer,
        };
        let identity = Arc::new(Reloading::<Identity>::load(files, now).unwrap());
        let trust = ClientTrustFiles { authorities: vec![keys.join("client-ca.pem")], ..ClientTrustFiles::default() };
        let trust = Reloading::<ClientTrust>::load(trust, now).unwrap();
        let mut tls = strict_server_config(identity, &trust.current()).unwrap();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (port, script) = (listener.local_addr().unwrap().port(), self.script.clone());
        let heard = self.heard.clone();
        tokio::spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, script) = (acceptor.clone(), script.lock().unwrap().clone());
                let heard = heard.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut request = Vec::new();
                    while !request.windows(4).any(|end| end == b"\r\n\r\n")
                        && stream.read_buf(&mut request).await.is_ok()
                    {}
                    heard.lock().unwrap().clone_from(&request);
                    let Script { status, head, mut body } = script;
                    let said = String::from_utf8_lossy(&body);
                    if said.contains(DIGEST) || said.contains(OTHER_DIGEST) {
                        read_body(&mut stream, &mut request).await;
                        body = with_digests(body, &request);
                    }
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n{head}\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(&body).await;
                    let _ = stream.shutdown().await;
                    let _ = stream.read_to_end(&mut request).await;
                });
            }
        });
        port
    }

    /// The beginning of the last request.
    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }

    pub fn says(&self, status: u16, head: &str, body: impl Into<Vec<u8>>) {
        *self.script.lock().unwrap() = Script { status, head: head.to_owned(), body: body.into() };
    }

    fn signer(&self) -> Identity {
        let keys = self.keys.lock().unwrap();
        Identity::load(&keys.join("signing.pem"), &keys.join("signing.key"), Timestamp::now()).unwrap()
    }

    pub fn says_signed_json(&self, status: u16, body: &str) {
        let token = self.token_of(body.as_bytes());
        self.says(status, &format!("content-type: application/json\r\nx-jws-signature: {token}\r\n"), body);
    }

    pub fn token_of(&self, payload: &[u8]) -> String {
        let form = JwsForm::Detached { header: "x-jws-signature".into() };
        let profile = JwsProfile { algorithm: Algorithm::RsaSha256, form, key_id: KeyIdForm::Serial };
        jws::sign_detached(payload, &profile, &self.signer()).unwrap()
    }

    /// The lines with a signature over the status 200, the digest of these bytes, and of the lines those that are covered.
    pub fn signed_head(&self, lines: &[(&'static str, &str)], covered: &[&str], digested: &[u8]) -> String {
        let line = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        let mut headers: HeaderMap = lines.iter().map(line).collect();
        let profile = HttpSignatureProfile {
            algorithm: Algorithm::RsaSha256,
            label: "sig1".into(),
            components: ["@status", "content-digest"].iter().chain(covered).map(|it| (*it).to_owned()).collect(),
            ttl: None,
            key_id: KeyIdForm::Serial,
        };
        let start = HttpStart::Response { status: StatusCode::OK };
        let message = HttpMessage { start, headers: &headers, body: digested };
        let seal = http_signature::sign(&message, &profile, &self.signer(), Timestamp::now()).unwrap();
        seal.insert_into(&mut headers);
        headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect()
    }

    pub fn says_signed_xml(&self, content: &str) {
        self.says(200, "content-type: text/xml\r\n", self.signed_envelope(content));
    }

    pub fn signed_envelope(&self, content: &str) -> String {
        let profile = WssProfile {
            algorithm: Algorithm::RsaSha256,
            ttl: SignedDuration::from_secs(300),
            sign_headers: Vec::new(),
            must_understand: false,
            sign_token: false,
        };
        let envelope = format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body>{content}</s:Body></s:Envelope>");
        wss::sign(&envelope, &profile, &self.signer(), Timestamp::now()).unwrap()
    }
}

/// In what is said, this stands for the digest of the request's body, and the other for another digest written otherwise.
pub const DIGEST: &str = "{SHA-256, in hexadecimal}";
pub const OTHER_DIGEST: &str = "{SHA-512, in base64}";

/// Until as much is there as the head says.
async fn read_body(stream: &mut (impl AsyncReadExt + Unpin), request: &mut Vec<u8>) {
    let head = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
    let whole = head + 4 + length.trim().parse::<usize>().unwrap();
    while request.len() < whole && stream.read_buf(request).await.is_ok_and(|count| count > 0) {}
}

fn with_digests(said: Vec<u8>, request: &[u8]) -> Vec<u8> {
    use aws_lc_rs::digest::{SHA256, SHA512, digest};
    let head = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    let body = &request[head + 4..];
    let hexadecimal: String = digest(&SHA256, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest(&SHA512, body));
    String::from_utf8(said).unwrap().replace(DIGEST, &hexadecimal).replace(OTHER_DIGEST, &base64).into_bytes()
}

/// One try only.
pub async fn env_with(agency: &str, change: impl Fn(String) -> String) -> (TestEnvironment, Hostile) {
    env_that_tries(agency, "first_wait_secs = 0.1\nmax_wait_secs = 1\nmax_attempts = 1\n", change).await
}

pub async fn env_that_tries(
    agency: &str,
    retry: &'static str,
    change: impl Fn(String) -> String,
) -> (TestEnvironment, Hostile) {
    let hostile = Hostile::default();
    let player = hostile.clone();
    let closed = |name: &str, text: String| {
        let text = text
            .replace("failures = 5", "failures = 1000")
            .replace("answer_max_bytes = 1048576", "answer_max_bytes = 4194304");
        if name == agency { change(text) } else { text }
    };
    let env = TestEnvironment::with_adapters(closed, |plan| {
        plan.retry = retry;
        let begin = move |keys: &Path| format!("https://localhost:{}/x", player.begin(keys));
        plan.external_agencies.insert(agency.parse().unwrap(), Box::new(begin));
    })
    .await;
    (env, hostile)
}

/// Parked with this code, and not after a long time; or waiting, if it speaks of the agency's health.
async fn ends_with(env: &TestEnvironment, service: &str, code: &str, what: &str) {
    let begun = Instant::now();
    let id = env.post(service).await;
    let shown = env.until(&id, &["parked", "retrying"]).await;
    let speaks_of_health = ["network.reset", "agency.http.server-error", "agency.http.no-verdict"].contains(&code);
    let state = if speaks_of_health { "retrying" } else { "parked" };
    assert_eq!((&shown["fault"]["code"], &shown["state"]), (&json!(code), &json!(state)), "{what}: {shown:#}");
    env.cancel(&id).await;
    assert!(begun.elapsed().as_secs() < 15, "{what} took {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn xml_that_hurts_its_reader_is_refused_on_the_whole_way() {
    let (env, hostile) = env_with("civil-registry", |text| text).await;
    let soap =
        |inside: &str| format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body>{inside}</s:Body></s:Envelope>").into_bytes();
    let utf16: Vec<u8> = "<?xml version='1.0'?><a/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let laughs = "<!DOCTYPE l [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><l>&b;</l>".as_bytes().to_vec();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("entities", laughs, "agency.answer.not-xml"),
        ("external", b"<!DOCTYPE l SYSTEM 'file:///etc/passwd'><l/>".to_vec(), "agency.answer.not-xml"),
        ("depth", soap(&"<a>".repeat(500_000)), "agency.answer.not-xml"),
        (
            "attributes",
            soap(&format!("<a {}/>", (0..60_000).map(|i| format!("a{i}='' ")).collect::<String>())),
            "agency.answer.not-xml",
        ),
        (
            "namespaces",
            soap(&(0..4000).map(|i| format!("<p{i}:e xmlns:p{i}='u{i}'/>")).collect::<String>()),
            "agency.answer.not-xml",
        ),
        ("UTF-16 that is no envelope", [vec![0xFF, 0xFE], utf16].concat(), "agency.answer.signature"),
        ("UTF-16 that is cut", vec![0xFF, 0xFE, b'<'], "agency.answer.not-xml"),
        ("not closed", soap("<![CDATA["), "agency.answer.not-xml"),
        ("instruction", soap("<?php x?>"), "agency.answer.not-xml"),
        ("comments", soap(&"<!---->".repeat(390_000)), "agency.answer.signature"),
        ("nothing signed", soap("<a/>"), "agency.answer.signature"),
        ("empty", Vec::new(), "agency.answer.signature"),
        ("white space", b"\r\n".to_vec(), "agency.answer.signature"),
    ];
    for (what, body, code) in cases {
        hostile.says(200, "content-type: text/xml\r\n", body.clone());
        ends_with(&env, "person-lookup", code, what).await;
    }
    hostile.says(200, "content-type: text/xml\r\ncontent-encoding: gzip\r\n", b"\x1f\x8b\x08\x00bomb".to_vec());
    ends_with(&env, "person-lookup", "agency.answer.encoding", "gzip").await;
    hostile.says(200, &format!("content-type: text/xml\r\nx: {}\r\n", "x".repeat(2_000_000)), soap("<a/>"));
    ends_with(&env, "person-lookup", "network.reset", "a huge header").await;
    for (status, code) in
        [(404, "agency.http.no-verdict"), (400, "agency.http.client-error"), (500, "agency.http.server-error")]
    {
        hostile.says(status, "content-type: text/xml\r\n", soap(&"<a>".repeat(10_000)));
        ends_with(&env, "person-lookup", code, "an error with a hostile body").await;
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_and_still_hostile_has_its_code_and_is_kept_out_of_logs() {
    let (env, hostile) = env_with("civil-registry", |text| text).await;
    hostile.says_signed_xml(&format!("{}{}", "<a>".repeat(90), "</a>".repeat(90)));
    ends_with(&env, "person-lookup", "agency.answer.unexpected", "depth").await;
    hostile.says_signed_xml(&format!("<a>{}</a>", "<!---->".repeat(380_000)));
    ends_with(&env, "person-lookup", "agency.answer.unexpected", "comments").await;
    let code = format!("s:Server.2000000000001\n{}", "x".repeat(100_000));
    hostile.says_signed_xml(&format!("<s:Fault><faultcode>{code}</faultcode><faultstring>f</faultstring></s:Fault>"));
    let id = env.post("person-lookup").await;
    env.ends(&id, "parked").await;
    let journal = &env.stack.process().unwrap().journal;
    let record = journal.find(id.parse().unwrap()).await.unwrap().unwrap();
    let fault = record.progress.state.fault().unwrap();
    assert!(fault.detail.len() < 2000 && !fault.detail.contains('\n'), "{}", fault.detail.len());
    assert!(!fault.detail.contains("2000000000001"), "{}", fault.detail);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_hurts_its_reader_is_refused_and_an_unsigned_no_of_a_lookup_is_no_answer() {
    let (env, hostile) = env_with("legal-events", |text| text).await;
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    for (what, body, code) in [
        ("depth", nested(100_000), "agency.answer.not-json"),
        ("the deepest that is read", format!("{{\"a\":{}}}", nested(120)), "agency.answer.unexpected"),
        ("a key twice", "{\"uid\":\"1\",\"\\u0075id\":\"2\"}".to_owned(), "agency.answer.not-json"),
        ("a number without end", "1".repeat(200_000), "agency.answer.not-json"),
        ("a byte order mark", "\u{feff}{}".to_owned(), "agency.answer.unexpected"),
        ("two byte order marks", "\u{feff}\u{feff}{}".to_owned(), "agency.answer.not-json"),
    ] {
        hostile.says_signed_json(200, &body);
        ends_with(&env, "legal-event", code, what).await;
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_not_found_never_counts_as_never_seen() {
    let (mut env, hostile) = (None, Hostile::default());
    let player = hostile.clone();
    env.replace(
        TestEnvironment::with_adapters(
            |_, text| text.replace("failures = 5", "failures = 1000"),
            |plan| {
                plan.retry = "first_wait_secs = 0.1\nmax_wait_secs = 0.2\nmax_attempts = 4\n";
                let begin = move |keys: &Path| format!("https://localhost:{}/x", player.begin(keys));
                plan.external_agencies.insert("legal-events".parse().unwrap(), Box::new(begin));
            },
        )
        .await,
    );
    let env = env.unwrap();
    // The request's outcome is unknown, and then somebody without the key says that it was never seen.
    hostile.says(500, "content-type: application/json\r\n", "{}");
    let id = env.post("legal-event").await;
    env.until(&id, &["retrying"]).await;
    hostile.says(404, "content-type: application/json\r\n", json!({"event_id": id, "result": []}).to_string());
    let shown = tried(&env, &id, 5).await;
    assert_eq!(shown["fault"]["code"], "agency.http.no-verdict", "{shown:#}");
    let journal = &env.stack.process().unwrap().journal;
    let attempts = journal.attempts(id.parse().unwrap()).await.unwrap();
    let sent = |number: usize| String::from_utf8_lossy(&attempts[number].wire.as_ref().unwrap().sent).into_owned();
    assert!((1..attempts.len()).all(|number| sent(number).starts_with("GET ")), "the request was sent again");
    assert!(sent(0).starts_with("POST "));
    env.leave().await;
}
