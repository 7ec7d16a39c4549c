//! The program as a process of its own, at its most talkative, through every success and every fault of agencies and
//! offices: its log, problems, metrics, URLs, process list and the operators' commands are searched for canaries.

use super::canaries::{Canaries, FILE_NAME, FILE_TEXT, PASSWORD, PERSON, TALKATIVE, WEBHOOK_KEY, canary};
use crate::program::Program;
use base64::{Engine, engine::general_purpose::STANDARD};
use punte::kit::test_stack::{OFFICE, TestStack, TestStackPlan};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

pub const SERVICES: [&str; 3] = ["person-lookup", "civil-status-extract", "legal-event"];

fn faults() -> Vec<Value> {
    let mut faults: Vec<_> = [
        "reset-before-effect",
        "reset-after-effect",
        "garbage",
        "garbage-in-turn",
        "wrong-content-type",
        "truncated-answer",
        "wrong-signature",
        "no-signature",
        "foreign-signature",
        "stale-timestamp",
        "other-reference",
        "rogue-certificate",
        "huge-answer",
    ]
    .map(|name| json!(name))
    .into();
    faults.extend([400, 302, 429, 500, 503].map(|code| json!({"status": {"code": code}})));
    faults.extend(["client", "server"].map(|blames| json!({"soap-fault": {"blames": blames}})));
    faults
}

/// With the office's webhook, which nobody answers.
pub async fn stack(folder: &Path) -> TestStack {
    std::fs::write(folder.join("whsec"), format!("whsec_{}", STANDARD.encode(WEBHOOK_KEY))).unwrap();
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut plan = TestStackPlan::of_project(project);
    plan.adapters = folder.join("adapters");
    crate::environment::copy(&project.join("adapters"), &plan.adapters);
    // So many faults in a row would open the circuit, and everything else would wait for it. An agency that has to be asked
    // what became of a request is asked when the operation's timeout is over.
    for agency in ["civil-registry", "legal-events"] {
        let file = plan.adapters.join(agency).join("agency.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replace("failures = 5", "failures = 1000").replace("timeout_secs = 20", "timeout_secs = 4");
        std::fs::write(&file, text).unwrap();
    }
    plan.retry = "first_wait_secs = 0.1\nmax_wait_secs = 0.2\nmax_attempts = 1\n";
    plan.more_config = "[webhooks]\nfirst_wait_secs = 0.1\nmax_wait_secs = 0.2\nmax_attempts = 2\n".into();
    plan.more_office = format!(
        "[offices.causeni.webhook]\nurl = \"https://localhost:1/hook\"\nsecret_files = [{:?}]\nallow_private_addresses = true\n",
        folder.join("whsec").display().to_string()
    );
    TestStack::prepare(plan).await.unwrap()
}

pub struct Walk<'a> {
    program: &'a Program,
    office: &'a reqwest::Client,
    pub canaries: Canaries,
    ids: Vec<String>,
}

impl<'a> Walk<'a> {
    pub fn new(program: &'a Program, office: &'a reqwest::Client) -> Self {
        Self { program, office, canaries: Canaries::new(), ids: Vec::new() }
    }

    pub async fn post(&self, body: String) -> (u16, String) {
        let request = self.office.post(self.program.url("/v1/submissions")).header("content-type", "application/json");
        let answer =
            request.header("idempotency-key", uuid::Uuid::new_v4().to_string()).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub async fn submit(&mut self, service: &str) -> Value {
        self.submit_request(&canary(service)).await
    }

    /// To its end, or in front of an operator.
    async fn submit_request(&mut self, request: &Value) -> Value {
        let (status, text) = self.post(request.to_string()).await;
        assert!(status < 300, "{text}");
        let id = serde_json::from_str::<Value>(&text).unwrap()["id"].as_str().unwrap().to_owned();
        let begun = Instant::now();
        loop {
            let url = self.program.url(&format!("/v1/submissions/{id}"));
            let text = self.office.get(url).send().await.unwrap().text().await.unwrap();
            let shown: Value = serde_json::from_str(&text).unwrap();
            if ["completed", "refused", "parked", "uncertain"].contains(&shown["state"].as_str().unwrap()) {
                self.ids.push(id);
                return shown;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{shown:#}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// The status and the text of an answer that has no reason to name anybody.
    async fn ask(&self, request: reqwest::RequestBuilder) -> (u16, String) {
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        self.canaries.assert_absent("an answer", &text);
        (status, text)
    }

    fn upload(&self, media_type: &str, content: &str) -> reqwest::RequestBuilder {
        let request = self.office.post(self.program.url("/v1/attachments")).header("content-type", media_type);
        let request = request.header("content-disposition", format!("attachment; filename=\"{FILE_NAME}\""));
        request.body(content.to_owned())
    }

    /// A file, a submission with it, and files that are refused.
    pub async fn attach(&mut self) {
        let content = format!("%PDF-1.7 {FILE_TEXT} {PERSON}");
        // The office is told the name that it gave.
        let answer = self.upload("application/pdf", &content).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 201);
        let attachment: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(attachment["name"], FILE_NAME);
        let mut request = canary("legal-event");
        request["attachments"] = json!([attachment["id"]]);
        let shown = self.submit_request(&request).await;
        assert_eq!(shown["state"], "completed", "{shown:#}");
        let digest = format!("sha-256=:{PERSON}:");
        for wrong in [
            self.upload("application/pdf", &content[1..]),
            self.upload(&format!("application/{FILE_TEXT}"), &content),
            self.upload("application/pdf", &content).header("content-digest", digest),
        ] {
            let (status, text) = self.ask(wrong).await;
            assert!((400..500).contains(&status), "{status} {text}");
        }
    }

    /// The addresses around submissions that have ended: changes as events, the list, taking back.
    pub async fn look_around(&self) {
        let url = |path: &str| self.program.url(&format!("/v1/submissions{path}"));
        let (one, events) = (url(&format!("/{}", self.ids[0])), url(&format!("/{}/events", self.ids[0])));
        let (_, text) = self.ask(self.office.get(&events)).await;
        assert!(text.contains("event: state") && text.contains("completed"), "{text}");
        for list in ["?limit=200", "?state=completed", "?service=legal-event"] {
            let (_, text) = self.ask(self.office.get(url(list))).await;
            assert!(text.contains("accepted_at"), "{text}");
        }
        for (wrong, code) in [
            (self.office.get(&events).header("last-event-id", format!("x{PERSON}")), 400),
            (self.office.delete(&one), 409),
            (self.office.delete(url(&format!("/{PERSON}"))), 404),
        ] {
            let (status, text) = self.ask(wrong).await;
            assert_eq!(status, code, "{text}");
        }
    }

    pub async fn err(&self) {
        let whole = canary("civil-status-extract").to_string();
        for body in [
            whole.replace("\"copies\":1", &format!("\"copies\":\"{PERSON}\"")),
            whole.replace("birth", PERSON),
            whole.replace("\"context\"", &format!("\"{PERSON}\"")),
            whole.replace("civil-status-extract", &format!("a{PERSON}")),
            whole.replacen('{', &format!("{{\"{PERSON}\":1,\"{PERSON}\":2,"), 1),
            format!("{whole}{PERSON}"),
            format!("[{PERSON}"),
            format!("\"{PERSON}\\ud800\""),
        ] {
            let (status, text) = self.post(body).await;
            assert!((400..500).contains(&status), "{status} {text}");
            self.canaries.assert_absent("a problem", &text);
        }
        for path in [
            "/v1/submissions/",
            "/v1/services/",
            "/v1/submissions?cursor=",
            "/v1/submissions?since=",
            "/v1/",
            "/v1/submissions?",
        ] {
            let text = self
                .office
                .get(self.program.url(&format!("{path}{PERSON}")))
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            self.canaries.assert_absent("a problem", &text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_and_no_secret_leaves_the_program_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let stack = stack(folder.path()).await;
    let office = stack.client(OFFICE).unwrap();
    let operations = format!("127.0.0.1:{}", rand::random_range(9_000..12_000));
    let variables =
        [("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full"), ("PUNTE__OPERATIONS__LISTEN", operations.as_str())];
    let program = Program::start(&stack, &office, &["--log", TALKATIVE], &variables).await;
    let mut walk = Walk::new(&program, &office);
    for service in SERVICES {
        let shown = walk.submit(service).await;
        assert_eq!(shown["state"], "completed", "{shown:#}");
        walk.canaries.add_texts_of(&shown["answer"]);
    }
    assert!(walk.canaries.count() > 20, "the agencies' answers named nobody");
    walk.attach().await;
    walk.look_around().await;
    for (agency, service) in [
        ("civil-registry", "person-lookup"),
        ("civil-registry", "civil-status-extract"),
        ("legal-events", "legal-event"),
    ] {
        for fault in faults() {
            stack.simulators[&agency.parse().unwrap()].behave(json!({"fault": fault, "times": 1})).unwrap();
            walk.submit(service).await;
        }
    }
    walk.err().await;
    for secret in ["gateway/server.key", "agencies/civil-registry/client.key", "agencies/civil-registry/signing.key"] {
        walk.canaries.add_key(&std::fs::read_to_string(stack.secrets().join(secret)).unwrap());
    }
    let canaries = &walk.canaries;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let metrics = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in ["/metrics", "/healthz/ready"] {
        let text = metrics.get(format!("http://{operations}{path}")).send().await.unwrap().text().await.unwrap();
        assert!(!text.is_empty());
        canaries.assert_absent(path, &text);
    }
    for file in ["cmdline", "environ", "comm"] {
        canaries.assert_absent(
            file,
            &String::from_utf8_lossy(&std::fs::read(format!("/proc/{}/{file}", program.id())).unwrap()),
        );
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.id())).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    for id in &walk.ids {
        told(&["submissions", "show", id], &stack, canaries);
        told(&["submissions", "show", id, "--json"], &stack, canaries);
    }
    for arguments in [
        &["submissions", "list"][..],
        &["submissions", "list", "--json"],
        &["parked", "list"],
        &["parked", "list", "--json"],
        &["check"],
        &["check", "--json"],
    ] {
        told(arguments, &stack, canaries);
    }
    urls(&stack, &walk.ids, canaries).await;
    let log = program.said();
    assert!(log.lines().count() > 300 && log.contains("DEBUG") && log.contains("the agency answered"), "{log}");
    canaries.assert_absent("the log", &log);
}

pub fn told(arguments: &[&str], stack: &TestStack, canaries: &Canaries) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
    let done = command.args(arguments).arg("--config").arg(stack.config()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(!text.is_empty(), "{arguments:?} says nothing");
    canaries.assert_absent(&format!("{arguments:?}"), &text);
}

/// Method, path and headers of every request that went to an agency.
async fn urls(stack: &TestStack, ids: &[String], canaries: &Canaries) {
    let journal = punte::journal::sqlite::SqliteJournal::open(&stack.folder.path().join("data/journal.db"));
    let Ok(journal) = journal else { panic!("the journal cannot be read beside the program") };
    let mut seen = 0;
    for id in ids {
        use punte::journal::Journal;
        for attempt in journal.attempts(id.parse().unwrap()).await.unwrap() {
            let Some(wire) = attempt.wire else { continue };
            let sent = String::from_utf8_lossy(&wire.sent).into_owned();
            canaries.assert_absent("the head of a request to an agency", sent.split("\r\n\r\n").next().unwrap());
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} requests were looked at");
}

/// Passwords of the journal and the broker, from the configuration and from the one documented kind of variable.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_in_no_error_of_a_start_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let stack = stack(folder.path()).await;
    let canaries = Canaries::new();
    let journal = format!("postgres://punte:{PASSWORD}@127.0.0.1:1/punte");
    let broker = format!("amqp://punte:{PASSWORD}@127.0.0.1:1/%2f");
    std::fs::write(folder.path().join("uri"), &broker).unwrap();
    let uri_file = folder.path().join("uri").display().to_string();
    for variables in [
        vec![("PUNTE__JOURNAL__URL", journal.as_str())],
        vec![("PUNTE__JOURNAL__URL", "postgres://punte:canary-password-99917@[::bad/punte")],
        vec![("PUNTE__BROKER__KIND", "rabbitmq"), ("PUNTE__BROKER__URI", broker.as_str())],
        vec![("PUNTE__BROKER__KIND", "rabbitmq"), ("PUNTE__BROKER__URI", "amqp://punte:canary-password-99917@[::bad")],
        vec![("PUNTE__BROKER__KIND", "rabbitmq"), ("PUNTE__BROKER__URI_FILE", uri_file.as_str())],
        vec![("PUNTE__BROKER__KIND", "carrier-pigeon"), ("PUNTE__BROKER__URI", broker.as_str())],
    ] {
        for arguments in [&["check"][..], &["serve", "--log", "trace"], &["submissions", "list"]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
            command.args(arguments).arg("--config").arg(stack.config());
            command.env("PUNTE__GATEWAY__LISTEN", "127.0.0.1:0").envs(variables.iter().copied());
            let (succeeded, text) = said_at_start(command, folder.path()).await;
            assert!(!text.is_empty() || succeeded);
            canaries.assert_absent(&format!("{arguments:?} {}", variables[0].0), &text);
        }
    }
}

/// Whether the program ended with success, and its text until then, or until it had time to fail after its first words.
async fn said_at_start(mut command: Command, folder: &Path) -> (bool, String) {
    let log = folder.join("said");
    let output = std::fs::File::create(&log).unwrap();
    let mut child = command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
    let said = || String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    let (begun, mut first_words) = (Instant::now(), None);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status.success(), said());
        }
        if first_words.is_none() && !said().is_empty() {
            first_words = Some(Instant::now());
        }
        if first_words.is_some_and(|at: Instant| at.elapsed() > Duration::from_secs(3)) {
            child.kill().unwrap();
            child.wait().unwrap();
            return (false, said());
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the program says nothing");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A core file would hold everything: the unit allows none, and nothing else that reads another's memory.
#[test]
fn the_unit_of_systemd_writes_no_core_and_gives_up_what_it_does_not_need() {
    let read = |file| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)).unwrap();
    let (unit, one_role) = (read("punte.service"), read("punte@.service"));
    for line in [
        "LimitCORE=0",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "StateDirectoryMode=0700",
        "UMask=0077",
        "CapabilityBoundingSet=",
    ] {
        for unit in [&unit, &one_role] {
            assert!(unit.lines().any(|have| have == line), "{line} is not in the unit");
        }
    }
    assert!(!unit.to_lowercase().contains("password"));
}
