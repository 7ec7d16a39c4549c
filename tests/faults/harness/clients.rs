//! Offices: they post, and write down what they ask for and which number they get, on disk before they go on.

use crate::environment;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;

/// One request of an office, repeated with its key until it got a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    pub key: String,
    pub service: String,
    /// More than one would be a number too many.
    pub numbers: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Asked { key: String, service: String, at: jiff::Timestamp },
    Numbered { key: String, id: String, at: jiff::Timestamp },
}

/// The offices' ledger.
#[derive(Clone)]
pub struct ClientLedger(Arc<(PathBuf, Mutex<File>)>);

impl ClientLedger {
    pub fn open(path: &Path) -> Self {
        let file = File::options().create(true).append(true).open(path).unwrap();
        Self(Arc::new((path.to_owned(), Mutex::new(file))))
    }

    fn write(&self, line: &Line) {
        let text = serde_json::to_string(line).unwrap() + "\n";
        let mut file = self.0.1.lock().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.sync_data().unwrap();
    }

    pub fn postings(&self) -> Vec<Posting> {
        let text = std::fs::read_to_string(&self.0.0).unwrap();
        let (mut places, mut postings) = (BTreeMap::new(), Vec::<Posting>::new());
        for line in text.lines() {
            match serde_json::from_str(line).unwrap() {
                Line::Asked { key, service, .. } => {
                    places.insert(key.clone(), postings.len());
                    postings.push(Posting { key, service, numbers: Vec::new() });
                }
                Line::Numbered { key, id, .. } => {
                    let numbers = &mut postings[places[&key]].numbers;
                    if !numbers.contains(&id) {
                        numbers.push(id);
                    }
                }
            }
        }
        postings
    }
}

/// The gateways that offices know of, and what they have seen of them.
#[derive(Clone)]
pub struct Gateways(Arc<Seen>);

struct Seen {
    ports: Mutex<Vec<u16>>,
    turn: AtomicU16,
    /// Answers of the class 5xx.
    server_errors: AtomicU64,
    /// Requests that were not answered at all.
    unanswered: AtomicU64,
}

impl Gateways {
    pub fn of(ports: Vec<u16>) -> Self {
        let ports = Mutex::new(ports);
        Self(Arc::new(Seen { ports, turn: 0.into(), server_errors: 0.into(), unanswered: 0.into() }))
    }

    /// Offices go to these from now on.
    pub fn are(&self, ports: Vec<u16>) {
        *self.0.ports.lock().unwrap() = ports;
    }

    pub fn server_errors(&self) -> u64 {
        self.0.server_errors.load(Ordering::Relaxed)
    }

    pub fn unanswered(&self) -> u64 {
        self.0.unanswered.load(Ordering::Relaxed)
    }

    pub fn url(&self) -> String {
        let ports = self.0.ports.lock().unwrap();
        let turn = usize::from(self.0.turn.fetch_add(1, Ordering::Relaxed));
        format!("https://localhost:{}/v1/submissions", ports[turn % ports.len()])
    }
}

/// An office at work.
#[derive(Clone)]
pub struct Office {
    pub client: reqwest::Client,
    pub ledger: ClientLedger,
    pub gateways: Gateways,
}

impl Office {
    /// The submission's number. An office does not know whether a request without an answer has arrived, so it repeats it.
    pub async fn post(&self, service: &str) -> String {
        let key = uuid::Uuid::new_v4().to_string();
        self.ledger.write(&Line::Asked { key: key.clone(), service: service.to_owned(), at: jiff::Timestamp::now() });
        let body = request(service).to_string();
        loop {
            if let Some(id) = self.try_once(&key, &body).await {
                self.ledger.write(&Line::Numbered { key, id: id.clone(), at: jiff::Timestamp::now() });
                return id;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn try_once(&self, key: &str, body: &str) -> Option<String> {
        let request = self.client.post(self.gateways.url()).timeout(Duration::from_secs(5));
        let request = request.header("content-type", "application/json").header("idempotency-key", key);
        let Ok(response) = request.body(body.to_owned()).send().await else {
            self.gateways.0.unanswered.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let status = response.status();
        let body = response.bytes().await;
        assert!(!status.is_client_error() || status == 429, "{status}: {body:?}");
        if status.is_server_error() {
            self.gateways.0.server_errors.fetch_add(1, Ordering::Relaxed);
        }
        if body.is_err() {
            self.gateways.0.unanswered.fetch_add(1, Ordering::Relaxed);
        }
        let body = body.ok().filter(|_| status.is_success())?;
        let body: Value = serde_json::from_slice(&body).unwrap();
        Some(body["id"].as_str().unwrap().to_owned())
    }

    pub async fn show(&self, id: &str) -> Option<Value> {
        let url = format!("{}/{id}", self.gateways.url());
        let response = self.client.get(url).timeout(Duration::from_secs(5)).send().await.ok()?;
        let is_shown = response.status().is_success();
        let body = response.bytes().await.ok().filter(|_| is_shown)?;
        serde_json::from_slice(&body).ok()
    }
}

pub const SERVICES: [&str; 4] = ["person-lookup", "civil-status-extract", "legal-event", "certified-extract"];

fn request(service: &str) -> Value {
    let like = if service == "certified-extract" { "civil-status-extract" } else { service };
    let mut request = environment::request(like, environment::CITIZEN);
    request["service"] = json!(service);
    request
}

/// Clerks who post one request after the other until told to stop, each until it has been answered.
pub struct LoadClients {
    stop: Arc<AtomicBool>,
    posted: Arc<AtomicU64>,
    posting: Vec<tokio::task::JoinHandle<()>>,
}

impl LoadClients {
    pub fn open(office: &Office, clerks: usize, pause: Duration, services: &'static [&'static str]) -> Self {
        let (stop, posted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let posting = (0..clerks).map(|clerk| {
            let (office, stop, posted) = (office.clone(), stop.clone(), posted.clone());
            tokio::spawn(async move {
                for turn in clerk.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    office.post(services[turn % services.len()]).await;
                    posted.fetch_add(1, Ordering::Relaxed);
                    sleep(pause).await;
                }
            })
        });
        let posting = posting.collect();
        Self { stop, posted, posting }
    }

    pub fn posted(&self) -> u64 {
        self.posted.load(Ordering::Relaxed)
    }

    /// Whoever is posting is served first.
    pub async fn close(self) {
        self.stop.store(true, Ordering::Relaxed);
        for posting in self.posting {
            tokio::time::timeout(super::PATIENCE, posting).await.expect("an office was never answered").unwrap();
        }
    }
}
