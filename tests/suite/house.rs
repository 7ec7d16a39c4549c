//! Real processes of the program over one configuration: they are started, killed and paused like on a bad day, while
//! offices go on posting. The simulated agencies live in the test, and so does their ledger.

use crate::town;
use punte::roles::stage::{OFFICE, Stage, StagePlan};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::time::sleep;

pub struct House {
    pub stage: Stage,
    pub posted: Posted,
    address: String,
    office: reqwest::Client,
    processes: Vec<Running>,
    _folder: tempfile::TempDir,
}

struct Running {
    roles: Vec<&'static str>,
    log: PathBuf,
    child: Option<Child>,
}

/// Every submission that an office has a number of: what it was for.
pub type Posted = Arc<Mutex<BTreeMap<String, &'static str>>>;

pub const SERVICES: [&str; 4] = ["person-lookup", "civil-status-extract", "legal-event", "certified-extract"];

/// How long anything may take on a busy machine before it counts as never.
const PATIENCE: Duration = Duration::from_secs(120);

impl House {
    /// With one process for each list of roles; an empty list is all roles.
    pub async fn build(processes: &[&[&'static str]], change: impl FnOnce(&mut StagePlan)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        furnish(folder.path());
        let mut plan = StagePlan::of_project(folder.path());
        plan.services = folder.path().join("services");
        plan.retry = "first_wait_secs = 0.2\nmax_wait_secs = 0.5\nmax_attempts = 1000\n";
        let port = free_port();
        plan.more_config = "[scheduler]\nlost_after_secs = 3\n".into();
        change(&mut plan);
        let stage = Stage::prepare(plan).await.unwrap_or_else(|error| panic!("the stage cannot be set: {error}"));
        let office = stage.client(OFFICE).unwrap();
        let log = |number: usize| stage.folder.path().join(format!("process-{number}.log"));
        let running = |(number, roles): (usize, &&[&'static str])| Running {
            roles: roles.to_vec(),
            log: log(number),
            child: None,
        };
        let processes = processes.iter().enumerate().map(running).collect();
        let address = format!("127.0.0.1:{port}");
        let posted = Posted::default();
        let mut house = Self { stage, posted, address, office, processes, _folder: folder };
        (0..house.processes.len()).for_each(|number| house.start(number));
        house
    }

    pub fn processes(&self) -> usize {
        self.processes.len()
    }

    pub fn start(&mut self, number: usize) {
        let running = &mut self.processes[number];
        let log = File::options().create(true).append(true).open(&running.log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
        command.arg("serve").arg("--config").arg(self.stage.config());
        for role in &running.roles {
            command.args(["--role", role]);
        }
        command.env("PUNTE__GATEWAY__LISTEN", &self.address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        running.child = Some(command.spawn().unwrap());
    }

    /// As by `kill -9`, or the loss of power.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.processes[number].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// `STOP` freezes it, `CONT` lets it go on as if nothing had happened.
    pub fn signal(&self, number: usize, signal: &str) {
        let pid = self.processes[number].child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").arg(format!("-{signal}")).arg(pid).status().unwrap().success());
    }

    /// Offices that post one request after the other until told to stop, each until it has been answered.
    pub fn open_counters(&self, offices: usize, pause: Duration) -> Counters {
        let stop = Arc::new(AtomicBool::new(false));
        let posting = (0..offices).map(|office| {
            let (client, url) = (self.office.clone(), self.url());
            let (posted, stop) = (self.posted.clone(), stop.clone());
            tokio::spawn(async move {
                for turn in office.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let service = SERVICES[turn % SERVICES.len()];
                    let id = post_until_answered(&client, &url, service).await;
                    posted.lock().unwrap().insert(id, service);
                    sleep(pause).await;
                }
            })
        });
        let posting = posting.collect();
        Counters { stop, posting }
    }

    /// One request, repeated with its key until it is answered.
    pub async fn post(&self, service: &'static str) -> String {
        let id = post_until_answered(&self.office, &self.url(), service).await;
        self.posted.lock().unwrap().insert(id.clone(), service);
        id
    }

    pub async fn show(&self, id: &str) -> Option<Value> {
        let url = format!("{}/{id}", self.url());
        let response = self.office.get(url).timeout(Duration::from_secs(5)).send().await.ok()?;
        let is_shown = response.status().is_success();
        let body = response.bytes().await.ok().filter(|_| is_shown)?;
        serde_json::from_slice(&body).ok()
    }

    pub async fn until(&self, id: &str, states: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.show(id).await;
            if let Some(shown) = shown.as_ref().filter(|it| states.contains(&it["state"].as_str().unwrap())) {
                return shown.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "{id} is not {states:?} in time: {shown:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn behave(&self, behaviour: &Value) {
        self.stage.simulators.values().for_each(|simulator| simulator.behave(behaviour.clone()).unwrap());
    }

    /// Waits for the end of everything that was posted, and holds it against what the agencies have done.
    pub async fn audit(&self) -> Audit {
        let posted = self.posted.lock().unwrap().clone();
        let mut audit = Audit { submissions: posted.len(), ..Audit::default() };
        for (id, service) in posted {
            let shown = self.until(&id, &["completed", "uncertain", "parked", "expired", "refused", "cancelled"]).await;
            audit.attempts += shown["attempts"].as_u64().unwrap();
            self.check(&id, service, &shown, &mut audit);
        }
        audit
    }

    fn check(&self, id: &str, service: &str, shown: &Value, audit: &mut Audit) {
        let state = shown["state"].as_str().unwrap();
        let entries = self.stage.simulators.values().flat_map(|simulator| simulator.ledger());
        let entries: Vec<_> = entries.filter(|entry| entry.reference.as_deref() == Some(id)).collect();
        let times: u32 = entries.iter().map(|entry| entry.times_seen).sum();
        let is_right = match (service, state) {
            ("person-lookup", "completed") => true,
            ("civil-status-extract", "completed") => entries.len() == 1,
            ("legal-event", "completed") | ("certified-extract", "completed") => times == 1,
            ("certified-extract", "uncertain") => {
                audit.uncertain += 1;
                times <= 1
            }
            _ => false,
        };
        assert!(is_right, "{service} {id}: {entries:#?}\n{shown:#}");
    }

    fn url(&self) -> String {
        let port = self.address.rsplit(':').next().unwrap();
        format!("https://localhost:{port}/v1/submissions")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        (0..self.processes.len()).for_each(|number| self.kill(number));
        if std::thread::panicking() {
            for Running { roles, log, .. } in &self.processes {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                eprintln!("--- {roles:?}\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
            }
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub submissions: usize,
    pub attempts: u64,
    pub uncertain: usize,
}

pub struct Counters {
    stop: Arc<AtomicBool>,
    posting: Vec<tokio::task::JoinHandle<()>>,
}

impl Counters {
    /// Whoever is posting is served first.
    pub async fn close(self) {
        self.stop.store(true, Ordering::Relaxed);
        for posting in self.posting {
            tokio::time::timeout(PATIENCE, posting).await.expect("an office was never answered").unwrap();
        }
    }
}

/// The submission's number. An office does not know whether a request without an answer has arrived, so it repeats it.
async fn post_until_answered(client: &reqwest::Client, url: &str, service: &str) -> String {
    let key = uuid::Uuid::new_v4().to_string();
    let body = request(service).to_string();
    loop {
        let request = client.post(url).timeout(Duration::from_secs(5)).header("content-type", "application/json");
        let answer = request.header("idempotency-key", &key).body(body.clone()).send().await;
        if let Ok(response) = answer {
            let status = response.status();
            let body = response.bytes().await;
            assert!(!status.is_client_error(), "{status}: {body:?}");
            if let Ok(body) = body
                && status.is_success()
            {
                let body: Value = serde_json::from_slice(&body).unwrap();
                return body["id"].as_str().unwrap().to_owned();
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn request(service: &str) -> Value {
    let like = if service == "certified-extract" { "civil-status-extract" } else { service };
    let mut request = town::request(like, town::CITIZEN);
    request["service"] = json!(service);
    request
}

/// The project's agencies and one more, which does the extract without recognising repetitions.
fn furnish(folder: &Path) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (adapters, services) = (folder.join("adapters"), folder.join("services"));
    std::fs::create_dir_all(folder.join("schemas/services")).unwrap();
    town::copy(&project.join("adapters"), &adapters);
    town::copy(&project.join("schemas/services"), &services);
    town::copy(&services.join("civil-status-extract"), &services.join("certified-extract"));
    let once = adapters.join("once-registry");
    town::copy(&adapters.join("civil-registry"), &once);
    std::fs::remove_dir_all(once.join("person-lookup")).unwrap();
    std::fs::rename(once.join("civil-status-extract"), once.join("certified-extract")).unwrap();
    for example in std::fs::read_dir(once.join("certified-extract/examples")).unwrap() {
        edit(&example.unwrap().path().join("request.json"), |text| {
            text.replace("civil-status-extract", "certified-extract")
        });
    }
    edit(&once.join("agency.toml"), |text| {
        let (head, tail) = text.split_once("[operations.person-lookup]").unwrap();
        let operation = tail.split_once("[operations.civil-status-extract]").unwrap().1;
        format!("{head}[operations.certified-extract]{}", operation.replace("\"idempotent\"", "\"once\""))
    });
    for agency in ["civil-registry", "legal-events", "once-registry"] {
        edit(&adapters.join(agency).join("agency.toml"), |text| {
            let short = text
                .replace("timeout_secs = 20\n", "timeout_secs = 3\n")
                .replace("timeout_secs = 30\n", "timeout_secs = 3\n");
            short.replace("cooldown_secs = 15", "cooldown_secs = 1")
        });
    }
}

fn edit(file: &Path, change: impl Fn(String) -> String) {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, change(text)).unwrap();
}

/// Below the range from which the kernel gives ports to clients: it stays free while its process is dead.
fn free_port() -> u16 {
    loop {
        let port = rand::random_range(12_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
