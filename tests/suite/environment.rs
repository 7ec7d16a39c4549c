//! The environment of a test: a whole test stack with an office's client, and few words for what tests do with it.

use punte::{
    domain::AgencyName,
    kit::{
        simulator::Simulator,
        test_stack::{OFFICE, TestStack, TestStackPlan},
    },
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub const CITIZEN: &str = "2000000000001";

pub struct TestEnvironment {
    pub stack: TestStack,
    pub office: reqwest::Client,
    /// Adapters that were changed for this environment.
    changed_adapters: Option<tempfile::TempDir>,
}

impl TestEnvironment {
    pub async fn started() -> Self {
        Self::planned(|_| {}).await
    }

    pub async fn planned(change: impl FnOnce(&mut TestStackPlan)) -> Self {
        let mut plan = TestStackPlan::of_project(Path::new(env!("CARGO_MANIFEST_DIR")));
        change(&mut plan);
        let stack =
            TestStack::started(plan).await.unwrap_or_else(|error| panic!("the test stack cannot be started: {error}"));
        let office = stack.client(OFFICE).unwrap();
        Self { stack, office, changed_adapters: None }
    }

    /// With the project's adapters, each of whose `agency.toml` is changed first.
    pub async fn with_adapters(change: impl Fn(&str, String) -> String, plan: impl FnOnce(&mut TestStackPlan)) -> Self {
        let folder = adapters(change);
        let path = folder.path().join("adapters");
        let env = Self::planned(|it| {
            it.adapters = path;
            plan(it);
        });
        Self { changed_adapters: Some(folder), ..env.await }
    }

    /// The same, and other files below the adapters too. It tries again soon.
    pub async fn with_adapters_and(change: impl Fn(&str, String) -> String, further: impl FnOnce(&Path)) -> Self {
        let folder = adapters(change);
        let path = folder.path().join("adapters");
        further(&path);
        let env = Self::planned(|it| {
            it.adapters = path;
            it.retry = "first_wait_secs = 0.1\nmax_wait_secs = 1\nmax_attempts = 5\n";
        });
        Self { changed_adapters: Some(folder), ..env.await }
    }

    /// With one file below the adapters changed.
    pub async fn with_template(file: &str, change: impl Fn(String) -> String) -> Self {
        Self::with_template_and(file, change, |_| {}).await
    }

    pub async fn with_template_and(
        file: &str,
        change: impl Fn(String) -> String,
        plan: impl FnOnce(&mut TestStackPlan),
    ) -> Self {
        let folder = adapters(|_, text| text);
        let path = folder.path().join("adapters");
        let text = std::fs::read_to_string(path.join(file)).unwrap();
        let changed = change(text.clone());
        assert_ne!(text, changed, "{file} was not changed");
        std::fs::write(path.join(file), changed).unwrap();
        let env = Self::planned(|it| {
            it.adapters = path;
            plan(it);
        });
        Self { changed_adapters: Some(folder), ..env.await }
    }

    /// The folder of the adapters that were changed for this environment.
    pub fn adapters(&self) -> PathBuf {
        self.changed_adapters.as_ref().unwrap().path().join("adapters")
    }

    pub fn simulator(&self, agency: &str) -> &Simulator {
        &self.stack.simulators[&agency.parse::<AgencyName>().unwrap()]
    }

    pub fn behave(&self, agency: &str, behaviour: Value) {
        self.simulator(agency).behave(behaviour).unwrap();
    }

    /// How often the agency has acted, over all references.
    pub fn effects(&self, agency: &str) -> usize {
        self.simulator(agency).ledger().len()
    }

    pub async fn post_raw(&self, request: &Value) -> (u16, Value) {
        answered(self.posting(&new_key(), request.to_string())).await
    }

    /// What the office gets under this key after it has waited for the answer at the gateway.
    pub async fn post_and_wait(&self, key: &str, request: &Value) -> (u16, Value) {
        answered(self.posting(key, request.to_string()).header("prefer", "wait=20")).await
    }

    pub fn posting(&self, key: &str, body: String) -> reqwest::RequestBuilder {
        let request = self.office.post(format!("{}/v1/submissions", self.stack.gateway()));
        request.header("content-type", "application/json").header("idempotency-key", key).body(body)
    }

    /// The new submission's number.
    pub async fn post(&self, service: &str) -> String {
        self.post_request(&request(service, CITIZEN)).await
    }

    pub async fn post_request(&self, request: &Value) -> String {
        let (status, body) = self.post_raw(request).await;
        assert!(status == 202 || status == 200, "{status}: {body}");
        body["id"].as_str().unwrap().to_owned()
    }

    pub async fn get(&self, path: &str) -> Value {
        let response = self.office.get(format!("{}{path}", self.stack.gateway())).send().await.unwrap();
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    pub async fn show(&self, id: &str) -> Value {
        self.get(&format!("/v1/submissions/{id}")).await
    }

    pub async fn cancel(&self, id: &str) -> (u16, Value) {
        let path = format!("{}/v1/submissions/{id}", self.stack.gateway());
        let response = self.office.delete(path).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
    }

    /// Waits until the submission is in one of these states.
    pub async fn until(&self, id: &str, states: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.show(id).await;
            if states.contains(&shown["state"].as_str().unwrap_or_default()) {
                return shown;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "not {states:?} in time: {shown:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the machine has done what it can, and expects this end.
    pub async fn ends(&self, id: &str, state: &str) -> Value {
        let shown = self.until(id, &["completed", "refused", "parked", "uncertain", "expired", "cancelled"]).await;
        assert_eq!(shown["state"], state, "{shown:#}");
        shown
    }

    /// Posts, and expects this end with this code.
    pub async fn post_and_end(&self, service: &str, state: &str, code: &str) -> Value {
        let id = self.post(service).await;
        let shown = self.ends(&id, state).await;
        assert_eq!(shown["fault"]["code"], code, "{shown:#}");
        shown
    }

    /// What the listener for health and metrics answers, head included.
    pub async fn operations(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let address = self.stack.process().unwrap().operations_address;
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Of all names in RabbitMQ.
    pub fn prefix(&self) -> String {
        let config: toml::Table = std::fs::read_to_string(self.stack.config()).unwrap().parse().unwrap();
        config["broker"]["prefix"].as_str().unwrap().to_owned()
    }

    pub async fn leave(self) {
        self.stack.end(Duration::from_secs(5)).await;
    }
}

/// An idempotency key that nobody has used.
pub fn new_key() -> String {
    uuid::Uuid::new_v4().to_string()
}

async fn answered(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
}

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/run"))
}

pub fn over_rabbitmq(plan: &mut TestStackPlan) {
    let prefix = format!("test-{}", uuid::Uuid::new_v4().simple());
    plan.rabbitmq = Some((variable("PUNTE_TEST_AMQP_URL"), prefix));
}

pub fn in_postgres(plan: &mut TestStackPlan) {
    let url = variable("PUNTE_TEST_POSTGRES_URL");
    let separator = if url.contains('?') { '&' } else { '?' };
    plan.journal_url = Some(format!("{url}{separator}search_path=test_{}", uuid::Uuid::new_v4().simple()));
}

/// The states that a submission went through.
pub fn states(shown: &Value) -> Vec<&str> {
    shown["timeline"].as_array().unwrap().iter().map(|change| change["state"].as_str().unwrap()).collect()
}

pub fn request(service: &str, person: &str) -> Value {
    let data = match service {
        "civil-status-extract" => json!({"act": "birth", "language": "ro", "copies": 1}),
        "legal-event" => json!({
            "event_type": "Punte.Residence.Registered",
            "event_time": "2026-11-21T10:00:00Z",
            "message": "Residence registered"
        }),
        _ => json!({}),
    };
    json!({
        "service": service,
        "context": {
            "clerk": "2000000000900",
            "entity": "1000000000001",
            "legal_basis": "Law 100/2020, art. 5",
            "reason": "Application 123"
        },
        "subject": {"scheme": "idnp", "id": person},
        "data": data
    })
}

/// The project's services, where this one's `service.toml` is changed.
pub fn services_with(service: &str, change: impl Fn(String) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/services"), folder.path());
    let file = folder.path().join(service).join("service.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed, "{service} was not changed");
    std::fs::write(file, changed).unwrap();
    folder
}

/// The service of the log of events, as its template may print what is in attachments.
pub fn services_of_small_attachments() -> tempfile::TempDir {
    services_with("legal-event", |text| text.replace("max_total_bytes = 209_715_200\n", ""))
}

/// A copy of the project's adapters, each `agency.toml` changed.
fn adapters(change: impl Fn(&str, String) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters");
    copy(&from, &folder.path().join("adapters"));
    for entry in std::fs::read_dir(folder.path().join("adapters")).unwrap() {
        let entry = entry.unwrap();
        let file = entry.path().join("agency.toml");
        if !file.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, change(&entry.file_name().to_string_lossy(), text)).unwrap();
    }
    folder
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Looks again and again; whoever waits for it is told, if it takes too long.
#[track_caller]
pub fn until(is_so: impl AsyncFn() -> bool) -> impl Future<Output = ()> {
    let waiting = std::panic::Location::caller();
    async move {
        let begun = Instant::now();
        while !is_so().await {
            assert!(begun.elapsed() < Duration::from_secs(20), "{waiting}: it was not so in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
