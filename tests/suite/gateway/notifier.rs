//! Webhooks: a receiver of our own, over real TLS, with a script of what it answers.

use super::environment::{CANARY, Open, TestEnvironment, submission_request};
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use punte::{
    domain::{Code, Event, Fault, Finding, OfficeName, Schedule, Stage, StateName, SystemClock},
    journal::Entry,
    roles::notifier::{Notifier, NotifierParts},
    settings::WebhookSettings,
    trust::{Identity, IdentityFiles, Purpose, Reloading, server_config},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const KEY: [u8; 32] = [7; 32];

/// One delivery as the receiver saw it.
#[derive(Debug, Clone)]
struct Received {
    headers: HashMap<String, String>,
    body: String,
    at: Instant,
}

struct Receiver {
    url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// Answers one line of the script after another, and the last one for ever. An empty line is no answer at all.
    async fn start(env: &TestEnvironment, script: &'static [&'static str]) -> Self {
        let files = IdentityFiles {
            certificate: env.pki.gateway("server.pem"),
            key: env.pki.gateway("server.key"),
            purpose: Purpose::TlsServer,
        };
        let identity = Arc::new(Reloading::<Identity>::load(files, Timestamp::now()).unwrap());
        let mut tls = server_config(identity, Vec::new()).unwrap();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://localhost:{}/hook", listener.local_addr().unwrap().port());
        let received = Arc::new(Mutex::new(Vec::new()));
        let seen = received.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, seen) = (tls.clone(), seen.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = tls.accept(stream).await else { return };
                    let Some(delivery) = read(&mut stream).await else { return };
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(delivery);
                        seen.len() - 1
                    };
                    let answer = script.get(number).or(script.last()).unwrap();
                    if answer.is_empty() {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                    }
                    let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { url, received }
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    async fn has(&self, count: usize) -> Vec<Received> {
        for _ in 0..400 {
            if self.received().len() >= count {
                return self.received();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} deliveries instead of {count}", self.received().len());
    }
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<Received> {
    let mut bytes = Vec::new();
    let end = loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else { continue };
        let length = head(&bytes[..end])["content-length"].parse::<usize>().unwrap();
        if bytes.len() >= end + 4 + length {
            break end;
        }
    };
    let body = String::from_utf8(bytes[end + 4..].to_vec()).unwrap();
    Some(Received { headers: head(&bytes[..end]), body, at: Instant::now() })
}

fn head(bytes: &[u8]) -> HashMap<String, String> {
    let text = std::str::from_utf8(bytes).unwrap();
    let fields = text.lines().skip(1).filter_map(|line| line.split_once(": "));
    fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect()
}

fn schedule(max_attempts: u32) -> Schedule {
    let millis = Duration::from_millis;
    Schedule::new(millis(50), millis(100), 2.0, 0.0, max_attempts, millis(1500)).unwrap()
}

fn hook(env: &TestEnvironment, url: &str, allow_private_addresses: bool) -> WebhookSettings {
    let secret = env.folder.path().join("webhook-secret");
    std::fs::write(&secret, format!("whsec_{}", STANDARD.encode(KEY))).unwrap();
    WebhookSettings {
        url: url.into(),
        secret_files: vec![secret],
        allow_private_addresses,
        ca: Some(env.pki.gateway("server-ca.pem")),
    }
}

fn give(env: &mut TestEnvironment, office: usize, webhook: WebhookSettings) {
    env.offices[office].webhook = Some(webhook);
    env.offices[office].office.has_webhook = true;
}

fn notifier(env: &TestEnvironment, max_attempts: u32) -> Notifier {
    Notifier::start(NotifierParts {
        offices: env.offices.clone(),
        journal: env.journal.clone(),
        clock: Arc::new(SystemClock),
        metrics: env.metrics.clone(),
        schedule: schedule(max_attempts),
        shutdown: env.shutdown.clone(),
    })
    .unwrap()
}

/// One submission of the office from its beginning to its end.
async fn completed(open: &Open, office: &str, key: &str) -> punte::domain::SubmissionId {
    let id = open.office(office).post(key, &submission_request()).await.id();
    open.settle(id, json!({"number": "L-1"})).await;
    id
}

async fn counted(open: &Open, outcome: &str, count: u32) {
    let line = format!("punte_webhooks_total{{outcome=\"{outcome}\"}} {count}");
    for _ in 0..300 {
        if open.env.metrics.to_text().lines().any(|have| have == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{line} is not in\n{}", open.env.metrics.to_text());
}

/// A gateway, and a notifier that tells this receiver of the first office's submissions.
async fn open_with_receiver(script: &'static [&'static str], max_attempts: u32) -> (Open, Receiver, Notifier) {
    let mut env = TestEnvironment::new();
    let receiver = Receiver::start(&env, script).await;
    let webhook = hook(&env, &receiver.url, true);
    give(&mut env, 0, webhook);
    let notifier = notifier(&env, max_attempts);
    (env.open().await, receiver, notifier)
}

async fn told(script: &'static [&'static str], max_attempts: u32) -> (Open, Receiver, punte::domain::SubmissionId) {
    let (open, receiver, _) = open_with_receiver(script, max_attempts).await;
    let id = completed(&open, "causeni", "k1").await;
    (open, receiver, id)
}

#[tokio::test]
async fn a_notice_is_signed_and_names_no_person() {
    let (open, receiver, id) = told(&["204 No Content"], 3).await;
    let delivery = receiver.has(1).await.remove(0);
    counted(&open, "delivered", 1).await;
    let (notice, timestamp) = (&delivery.headers["webhook-id"], &delivery.headers["webhook-timestamp"]);
    let content = format!("{notice}.{timestamp}.{}", delivery.body);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &KEY), content.as_bytes());
    assert_eq!(delivery.headers["webhook-signature"], format!("v1,{}", STANDARD.encode(tag)));
    let age = Timestamp::now().as_second() - timestamp.parse::<i64>().unwrap();
    assert!((0..30).contains(&age), "{age}");
    let body: Value = serde_json::from_str(&delivery.body).unwrap();
    assert_eq!(body["type"], "submission.completed");
    let data = json!({"id": id, "service": "ledger-entry", "agency": "ledger", "state": "completed"});
    assert_eq!(body["data"], data);
    assert!(!delivery.body.contains(CANARY) && !delivery.body.contains("L-1"));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_notice_says_what_may_have_been_done_and_which_answer_nobody_has() {
    let (open, receiver, _) = open_with_receiver(&["204 No Content"], 3).await;
    let id = open.office("causeni").post("k1", &submission_request()).await.id();
    let at = Timestamp::now();
    let record = async |event| open.env.journal.record(id, Entry::new(event, at)).await.unwrap();
    record(Event::Begun { attempt: 1, lease_until: at, asks_first: true }).await;
    record(Event::OutcomeUnknown { attempt: 1, fault: Fault::new(Code::NetworkReset, Stage::Send, "") }).await;
    let data = |delivery: &Received| serde_json::from_str::<Value>(&delivery.body).unwrap()["data"].clone();
    let told = |state, more: &str| json!({"id": id, "service": "ledger-entry", "agency": "ledger", "state": state, more: true});
    assert_eq!(data(&receiver.has(1).await[0]), told("uncertain", "in_doubt"));
    let finding = Finding::Happened { answer: None };
    record(Event::Resolved { by: "jane".into(), seen: 1, finding }).await;
    let delivery = receiver.has(2).await.remove(1);
    assert_eq!(data(&delivery), told("completed", "answer_missing"));
    assert!(!delivery.body.contains("jane"), "{}", delivery.body);
}

#[tokio::test]
async fn a_notice_that_was_not_taken_is_repeated_with_the_same_id() {
    let (open, receiver, _) = told(&["500 No", "302 Found\r\nlocation: https://localhost/", "200 OK"], 5).await;
    let deliveries = receiver.has(3).await;
    counted(&open, "delivered", 1).await;
    counted(&open, "retried", 2).await;
    assert!(deliveries.iter().all(|it| it.headers["webhook-id"] == deliveries[0].headers["webhook-id"]));
    assert!(deliveries.iter().all(|it| it.body == deliveries[0].body));
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let (_open, receiver, _) = told(&["503 Busy\r\nretry-after: 1", "200 OK"], 5).await;
    let deliveries = receiver.has(2).await;
    let waited = deliveries[1].at.duration_since(deliveries[0].at);
    assert!(waited >= Duration::from_millis(950), "{waited:?}");
}

#[tokio::test]
async fn a_webhook_that_is_gone_or_never_takes_anything_is_given_up() {
    let (open, receiver, _) = told(&["410 Gone"], 5).await;
    counted(&open, "given_up", 1).await;
    assert_eq!(receiver.received().len(), 1);
    let (open, receiver, _) = told(&["500 No"], 2).await;
    counted(&open, "given_up", 1).await;
    assert_eq!(receiver.received().len(), 2);
}

/// The machine's own name: `localhost` is refused before anything is resolved.
#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_not_connected_to() {
    let mut env = TestEnvironment::new();
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let listener = TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
    let url = format!("https://{}:{}/hook", name.trim(), listener.local_addr().unwrap().port());
    let webhook = hook(&env, &url, false);
    give(&mut env, 0, webhook);
    let _ = notifier(&env, 2);
    let open = env.open().await;
    completed(&open, "causeni", "k1").await;
    counted(&open, "given_up", 1).await;
    assert!(tokio::time::timeout(Duration::from_millis(100), listener.accept()).await.is_err(), "it was connected to");
}

#[tokio::test]
async fn a_receiver_with_a_strangers_certificate_is_told_nothing() {
    let mut env = TestEnvironment::new();
    let receiver = Receiver::start(&env, &["200 OK"]).await;
    let webhook = WebhookSettings { ca: Some(env.pki.rogue("ca.pem")), ..hook(&env, &receiver.url, true) };
    give(&mut env, 0, webhook);
    let _ = notifier(&env, 1);
    let open = env.open().await;
    completed(&open, "causeni", "k1").await;
    counted(&open, "given_up", 1).await;
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn a_webhook_that_hangs_delays_no_other_office() {
    let mut env = TestEnvironment::new();
    let hanging = Receiver::start(&env, &[""]).await;
    let quick = Receiver::start(&env, &["200 OK"]).await;
    let webhooks = [hook(&env, &hanging.url, true), hook(&env, &quick.url, true)];
    for (office, webhook) in webhooks.into_iter().enumerate() {
        give(&mut env, office, webhook);
    }
    let open = env.open().await;
    for number in 0..50 {
        completed(&open, "causeni", &format!("k{number}")).await;
    }
    completed(&open, "shkoder", "k").await;
    let begun = Instant::now();
    let _ = notifier(&open.env, 5);
    quick.has(1).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(hanging.received().len() <= 8);
}

#[tokio::test]
async fn many_notices_at_once_are_delivered_without_waiting_for_each_other() {
    let mut env = TestEnvironment::new();
    let receiver = Receiver::start(&env, &["200 OK"]).await;
    let webhook = hook(&env, &receiver.url, true);
    give(&mut env, 0, webhook);
    let open = env.open().await;
    for number in 0..60 {
        completed(&open, "causeni", &format!("k{number}")).await;
    }
    let _ = notifier(&open.env, 5);
    counted(&open, "delivered", 60).await;
    let ids: std::collections::HashSet<_> =
        receiver.received().into_iter().map(|it| it.headers["webhook-id"].clone()).collect();
    assert_eq!((ids.len(), receiver.received().len()), (60, 60));
}

#[tokio::test]
async fn an_office_without_a_webhook_is_told_nothing_and_a_cancelled_one_is_told_too() {
    let (open, receiver, notifier) = open_with_receiver(&["200 OK"], 2).await;
    completed(&open, "shkoder", "k").await;
    let office = open.office("causeni");
    let id = office.post("k1", &submission_request()).await.id();
    office.send(office.request(http::Method::DELETE, &format!("/v1/submissions/{id}"))).await;
    let body: Value = serde_json::from_str(&receiver.has(1).await[0].body).unwrap();
    assert_eq!(body["type"], format!("submission.{}", StateName::Cancelled));
    assert_eq!(receiver.received().len(), 1);
    open.close().await;
    tokio::time::timeout(Duration::from_secs(5), notifier.ended).await.unwrap().unwrap();
}

#[test]
fn a_webhook_that_cannot_work_stops_the_start() {
    let mut env = TestEnvironment::new();
    let url = "https://user:pass@localhost/";
    let webhook = hook(&env, url, true);
    give(&mut env, 0, webhook);
    let name: OfficeName = "causeni".parse().unwrap();
    let error = Notifier::start(NotifierParts {
        offices: env.offices.clone(),
        journal: env.journal.clone(),
        clock: env.clock.clone(),
        metrics: env.metrics.clone(),
        schedule: schedule(1),
        shutdown: env.shutdown.clone(),
    });
    let text = error.err().unwrap().to_string();
    assert!(text.contains(name.as_str()) && !text.contains("pass"), "{text}");
}

#[tokio::test]
async fn bad_files_stop_their_own_webhook_alone_and_its_notices_go_out_when_they_are_good() {
    let mut env = TestEnvironment::new();
    let (stopped, other) = (Receiver::start(&env, &["200 OK"]).await, Receiver::start(&env, &["200 OK"]).await);
    let folder = env.folder.path().to_owned();
    let good = std::fs::read_to_string(env.pki.gateway("server-ca.pem")).unwrap();
    let (ca, secret) = (folder.join("webhook-ca.pem"), folder.join("webhook-secret-2"));
    std::fs::write(&ca, "no certificate").unwrap();
    let webhook = hook(&env, &stopped.url, true);
    let files = [webhook.secret_files[0].clone(), secret.clone()].to_vec();
    give(&mut env, 0, WebhookSettings { ca: Some(ca.clone()), secret_files: files, ..webhook });
    let webhook = hook(&env, &other.url, true);
    give(&mut env, 1, webhook);
    let Notifier { clients, .. } = notifier(&env, 2);
    let (causeni, shkoder): (OfficeName, OfficeName) = ("causeni".parse().unwrap(), "shkoder".parse().unwrap());
    let told = clients.trouble(&causeni).unwrap();
    assert!(
        told.contains("is stopped") && told.contains("webhook-ca.pem") && told.contains("no certificate"),
        "{told}"
    );
    assert_eq!(told.matches("webhook-ca.pem").count(), 1, "{told}");
    assert_eq!(clients.trouble(&shkoder), None);
    let open = env.open().await;
    completed(&open, "causeni", "k").await;
    completed(&open, "shkoder", "k").await;
    other.has(1).await;
    std::fs::write(&ca, &good).unwrap();
    clients.refresh(Timestamp::now());
    let told = clients.trouble(&causeni).unwrap();
    assert!(told.contains("webhook-secret-2 cannot be read"), "{told}");
    std::fs::write(&secret, "whsec_short").unwrap();
    clients.refresh(Timestamp::now());
    let told = clients.trouble(&causeni).unwrap();
    assert!(told.contains("webhook-secret-2: a webhook secret is written whsec_"), "{told}");
    assert!(stopped.received().is_empty());
    std::fs::write(&secret, format!("whsec_{}", STANDARD.encode([9; 32]))).unwrap();
    clients.refresh(Timestamp::now());
    assert_eq!(clients.trouble(&causeni), None);
    let delivered = stopped.has(1).await;
    assert_eq!(delivered[0].headers["webhook-signature"].split(' ').count(), 2, "both secrets sign");
    // What is bad from now on is refused, and what was good stays in use.
    std::fs::write(&ca, format!("{good}-----BEGIN CERTIFICATE-----")).unwrap();
    clients.refresh(Timestamp::now());
    assert!(clients.trouble(&causeni).unwrap().contains("stays in use"));
    completed(&open, "causeni", "k2").await;
    stopped.has(2).await;
}
