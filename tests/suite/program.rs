//! The program as its users meet it: command lines come in, output and exit codes go out.

mod broken;
mod example;
mod secrets;

use crate::journal::files_with;
use punte::{
    domain::{
        Actor, Answer, CallContext, Code, Effect, Event, Fault, Priority, Stage, State, StateName, Subject, Submission,
        SubmissionId, TraceParent, WireRecord,
    },
    journal::{Entry, IdempotencyKey, Journal, sqlite::SqliteJournal},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

fn punte(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_punte")).args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The project's own example configuration in a folder of its own, with throw-away keys.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::create_dir(folder.path().join("config")).unwrap();
        for file in ["punte.toml", "offices.toml"] {
            std::fs::copy(project.join("config").join(file), folder.path().join("config").join(file)).unwrap();
        }
        for copied in ["adapters", "schemas"] {
            let copied = Command::new("cp").arg("-r").arg(project.join(copied)).arg(folder.path()).status();
            assert!(copied.unwrap().success());
        }
        let secrets = folder.path().join("config/secrets");
        assert_eq!(code(&punte(&["pki", "dev", "--out", secrets.to_str().unwrap()])), 0);
        Self(folder)
    }

    fn config(&self) -> String {
        self.0.path().join("config/punte.toml").display().to_string()
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.0.path().join("config").join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        assert!(before.contains(from), "{file} has no `{from}`");
        std::fs::write(path, before.replace(from, to)).unwrap();
    }

    fn journal_path(&self) -> PathBuf {
        self.0.path().join("punte-data/journal.db")
    }

    /// A journal with one submission that waits for an operator.
    async fn with_waiting(&self, effect: Effect, event: impl FnOnce(u32) -> Event) -> SubmissionId {
        let journal = SqliteJournal::open(&self.journal_path()).unwrap();
        let submission = submission(effect);
        let key = IdempotencyKey { key: submission.id.to_string(), body_sha256: [0; 32] };
        journal.accept(&submission, &key, false, None).await.unwrap();
        let now = jiff::Timestamp::now();
        let begun = Event::Begun { attempt: 1, lease_until: now, asks_first: true };
        journal.record(submission.id, Entry::new(begun, now)).await.unwrap();
        journal.record(submission.id, Entry::new(event(1), now)).await.unwrap();
        journal.close().await;
        submission.id
    }
}

fn submission(effect: Effect) -> Submission {
    let now = jiff::Timestamp::now();
    Submission {
        id: SubmissionId::new(),
        office: "causeni".parse().unwrap(),
        service: "person-lookup".parse().unwrap(),
        agency: "civil-registry".parse().unwrap(),
        effect,
        priority: Priority::Ordinary,
        context: CallContext {
            clerk: "2000000000900".into(),
            entity: "1000000000001".into(),
            legal_basis: "Law 100/2020".into(),
            reason: "Application 123".into(),
        },
        subject: Subject { scheme: "idnp".into(), id: "2000000000777".into() },
        data: json!({}),
        attachments: Vec::new(),
        accepted_at: now,
        expires_at: now + jiff::SignedDuration::from_hours(1),
        trace: TraceParent::fresh(),
    }
}

#[test]
fn the_example_configuration_has_no_faults() {
    let folder = Folder::new();
    let checked = punte(&["check", "--config", &folder.config()]);
    assert_eq!(code(&checked), 0, "{}", text(&checked.stdout));
    let listed = text(&checked.stdout);
    assert!(listed.contains("agency civil-registry (soap-1.1): civil-status-extract, person-lookup"), "{listed}");
    assert!(listed.contains("agency legal-events (rest): legal-event"), "{listed}");
}

#[test]
fn check_lists_every_fault_at_once_with_file_key_and_remedy() {
    let folder = Folder::new();
    folder.edit("punte.toml", "listen = \"0.0.0.0:8443\"", "listen = \"everywhere\"");
    folder.edit("punte.toml", "idempotency_key_days = 30 ", "idempotency_key_days = 3 ");
    folder.edit("punte.toml", "kind = \"embedded\"", "kind = \"carrier-pigeon\"");
    folder.edit("punte.toml", "max_attempts = 12", "max_attempts = 0");
    folder.edit("offices.toml", "services = [\"person-lookup\"]", "services = [\"person-lookup\", \"Bad Name\"]");
    folder.edit("offices.toml", "organization_identifier = \"GOVAL-0000000000002\"", "");
    let template = folder.0.path().join("adapters/legal-events/legal-event/request.json");
    std::fs::write(template, "{{ no_such_thing }}").unwrap();
    let checked = punte(&["check", "--json", "--config", &folder.config()]);
    assert_eq!(code(&checked), 3);
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let faults = report["faults"].as_array().unwrap();
    let has = |file: &str, key: &str| {
        let fits = |fault: &&Value| fault["file"].as_str().unwrap().ends_with(file) && fault["key"] == key;
        let fault = faults.iter().find(fits).unwrap_or_else(|| panic!("no fault at {file} {key}: {faults:?}"));
        assert!(!fault["problem"].as_str().unwrap().is_empty() && !fault["remedy"].as_str().unwrap().is_empty());
    };
    let template_fault =
        faults.iter().any(|fault| fault["file"].as_str().unwrap().contains("legal-events/legal-event"));
    assert!(template_fault, "the adapter's fault is missing: {faults:?}");
    has("punte.toml", "gateway.listen");
    has("punte.toml", "journal.idempotency_key_days");
    has("punte.toml", "broker.kind");
    has("punte.toml", "webhooks.max_attempts");
    has("offices.toml", "offices.strumica.services");
    has("offices.toml", "offices.shkoder.certificates");
}

#[test]
fn check_names_the_line_of_each_fault_and_says_which_source_of_a_value_wins() {
    let folder = Folder::new();
    folder.edit("punte.toml", "idempotency_key_days = 30 ", "idempotency_key_days = 3 ");
    let listed = text(&punte(&["check", "--config", &folder.config()]).stdout);
    let written = std::fs::read_to_string(folder.config()).unwrap();
    let line = 1 + written.lines().position(|line| line.starts_with("idempotency_key_days")).unwrap();
    assert!(listed.contains(&format!("punte.toml:{line}: journal.idempotency_key_days: is too short")), "{listed}");
    let by_variable = |name: &str, value: &str, more: &[&str]| {
        let folder = Folder::new();
        let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
        let run = command.args(["check", "--config", &folder.config()]).args(more).env(name, value).output().unwrap();
        (code(&run), text(&run.stdout))
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/journal.db", elsewhere.path().display());
    let (code_of, listed) = by_variable("PUNTE__JOURNAL__URL", &url, &[]);
    assert_eq!(code_of, 0, "{listed}");
    let effective = format!("journal.url = \"{url}\"    environment variable PUNTE__JOURNAL__URL, over line ");
    assert!(listed.contains(&effective), "{listed}");
    assert!(listed.contains("warning: journal.url: the environment variable PUNTE__JOURNAL__URL wins"), "{listed}");
    assert!(listed.contains("gateway.max_requests = 1000    default"), "{listed}");
    assert!(listed.contains("gateway.max_waits = 4000    default"), "{listed}");
    let (code_of, listed) = by_variable("PUNTE__JOURNAL__IDEMPOTENCY_KEY_DAYS", "3", &[]);
    assert_eq!(code_of, 3);
    assert!(listed.contains("PUNTE__JOURNAL__IDEMPOTENCY_KEY_DAYS: journal.idempotency_key_days"), "{listed}");
    let (_, report) = by_variable("PUNTE__JOURNAL__URL", &url, &["--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let settings = report["settings"].as_array().unwrap();
    let journal = settings.iter().find(|it| it["key"] == "journal.url").unwrap();
    assert_eq!(journal["source"]["from"], "environment", "{journal}");
}

#[test]
fn check_foresees_every_address_and_folder_that_serve_would_refuse() {
    type Edit = (&'static str, &'static str, &'static str);
    let rabbitmq: Edit =
        ("punte.toml", "kind = \"embedded\"", "kind = \"rabbitmq\"\nuri = \"amqp://u:geheim@10.0.0.1/%2f\"");
    let slash: Edit = (
        "punte.toml",
        "kind = \"embedded\"",
        "kind = \"rabbitmq\"\nuri = \"amqps://u:geheim/b@c@h:5671/v\"\nca = \"secrets/gateway/server-ca.pem\"",
    );
    let prefix: Edit =
        ("punte.toml", "kind = \"embedded\"", "kind = \"rabbitmq\"\nuri = \"amqp://localhost\"\nprefix = \"a b\"");
    let postgres: Edit =
        ("punte.toml", "url = \"sqlite:../punte-data/journal.db\"", "url = \"postgres://u:geheim/b@c@h/d\"");
    let plain: Edit =
        ("punte.toml", "url = \"sqlite:../punte-data/journal.db\"", "url = \"postgres://u:geheim@10.0.0.1/d\"");
    let no_folder: Edit =
        ("punte.toml", "url = \"sqlite:../punte-data/journal.db\"", "url = \"sqlite:punte.toml/journal.db\"");
    let uploads: Edit =
        ("punte.toml", "folder = \"../punte-data/attachments\"", "folder = \"offices.toml/attachments\"");
    let webhook = |url: &'static str| -> Edit {
        let text =
            format!("[offices.causeni.webhook]\nurl = \"{url}\"\nsecret_files = [\"webhook\"]\n[offices.shkoder]");
        ("offices.toml", "[offices.shkoder]", text.leak())
    };
    let folder = Folder::new();
    std::fs::write(folder.0.path().join("config/webhook"), "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz").unwrap();
    for (edit, key, told) in [
        (rabbitmq, "broker.uri", "broker.allow_plaintext"),
        (slash, "broker.uri", "percent-encode"),
        (prefix, "broker.prefix", "prefix"),
        (postgres, "journal.url", "percent-encode"),
        (plain, "journal.url", "sslmode"),
        (no_folder, "journal.url", "is no folder"),
        (uploads, "gateway.attachments.folder", "is no folder"),
        (webhook("https://10.1.2.3/hook"), "offices.causeni.webhook", "allow_private_addresses"),
        (webhook("https://user:geheim@hooks.example/"), "offices.causeni.webhook", "without a user"),
        (webhook("https://"), "offices.causeni.webhook", "https://HOST/PATH"),
    ] {
        folder.edit(edit.0, edit.1, edit.2);
        let checked = punte(&["check", "--json", "--config", &folder.config()]);
        let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
        let faults = report["faults"].as_array().unwrap();
        let fault = faults.iter().find(|fault| fault["key"] == key && fault.to_string().contains(told));
        assert!(fault.is_some_and(|fault| fault["line"].is_u64()), "{key} {told}: {report}");
        assert!(!report.to_string().contains("geheim"), "{report}");
        let served = punte(&["serve", "--config", &folder.config()]);
        assert_eq!(code(&served), 3, "{}", text(&served.stderr));
        folder.edit(edit.0, edit.2, edit.1);
    }
}

#[test]
fn the_shipped_units_layout_has_no_faults_and_its_settings_one_source() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(project.join("deploy/README.md")).unwrap();
    let root = tempfile::tempdir().unwrap();
    let root = root.path().display().to_string();
    let made = readme.lines().find(|line| line.starts_with("sed ")).unwrap();
    let moved =
        made.replace("/etc/punte", &format!("{root}/etc/punte")).replace("/var/lib", &format!("{root}/var/lib"));
    let script = format!(
        "set -e; mkdir -p {root}/etc/punte {root}/var/lib/punte; {moved}; cp config/offices.toml {root}/etc/punte/; \
         cp -r adapters schemas {root}/etc/punte/"
    );
    assert!(Command::new("sh").args(["-c", &script]).current_dir(project).status().unwrap().success());
    let config = format!("{root}/etc/punte/punte.toml");
    assert_eq!(code(&punte(&["pki", "dev", "--out", &format!("{root}/etc/punte/secrets")])), 0);
    let checked = punte(&["check", "--config", &config]);
    assert_eq!(code(&checked), 0, "{}", text(&checked.stdout));
    let listed = text(&checked.stdout);
    assert!(listed.contains(&format!("journal.url = \"sqlite:{root}/var/lib/punte/journal.db\"")), "{listed}");
    assert!(!listed.contains("warning:"), "{listed}");
    for unit in ["punte.service", "punte@.service"] {
        let unit = std::fs::read_to_string(project.join("deploy").join(unit)).unwrap();
        assert!(!unit.contains("PUNTE__"), "{unit}");
        // What stops one agency or one webhook keeps no bus from its start; serve refuses the rest itself.
        assert!(unit.contains("ExecStartPre=-/usr/local/bin/punte check "), "{unit}");
    }
}

#[test]
fn an_authority_of_postgresql_that_would_protect_nothing_is_refused() {
    let folder = Folder::new();
    let ca = "secrets/gateway/office-ca.pem";
    for (url, key, word) in [
        ("postgres://punte@localhost/bus", "journal.ca", "nothing would be encrypted"),
        ("postgres://punte@db.example/bus?sslmode=disable", "journal.ca", "nothing would be encrypted"),
        ("postgres://punte@db.example/bus?sslmode=verify-ca", "journal.url", "verify-full"),
        ("postgres://punte@db.example/bus?sslmode=require&sslrootcert=x", "journal.url", "[journal] ca"),
    ] {
        let variables = [("PUNTE__JOURNAL__URL", url), ("PUNTE__JOURNAL__CA", ca)];
        let checked = Command::new(env!("CARGO_BIN_EXE_punte"))
            .args(["check", "--config", &folder.config()])
            .envs(variables)
            .output()
            .unwrap();
        let listed = text(&checked.stdout);
        assert!(code(&checked) == 3 && listed.contains(key) && listed.contains(word), "{url}: {listed}");
    }
}

#[test]
fn check_finds_missing_keys_and_services_that_nobody_does() {
    let folder = Folder::new();
    std::fs::remove_file(folder.0.path().join("config/secrets/agencies/civil-registry/client.key")).unwrap();
    std::fs::remove_file(folder.0.path().join("config/secrets/agencies/legal-events/ca.pem")).unwrap();
    folder.edit(
        "offices.toml",
        "services = [\"person-lookup\"]",
        "services = [\"person-lookup\", \"no-such-service\"]",
    );
    let checked = punte(&["check", "--config", &folder.config()]);
    let listed = text(&checked.stdout);
    assert_eq!(code(&checked), 3, "{listed}");
    for part in ["civil-registry/client", "legal-events/ca.pem", "no-such-service", "→"] {
        assert!(listed.contains(part), "{part} is not in {listed}");
    }
}

#[test]
fn a_wrong_command_line_is_told_so_and_exits_with_2() {
    for wrong in [&["fly"][..], &["serve", "--role", "cook"], &["submissions", "show", "7"], &["parked", "replay"]] {
        assert_eq!(code(&punte(wrong)), 2, "{wrong:?}");
    }
    let told = punte(&["submissions", "list", "--state", "failed"]);
    assert_eq!(code(&told), 2);
    assert!(text(&told.stderr).contains("no such state; there are accepted, queued, "), "{told:?}");
    for wrong in ["0-1-9", "0199g2a4", "0199%"] {
        let told = punte(&["parked", "discard", wrong, "--by", "A. Operator"]);
        assert_eq!(code(&told), 2, "{wrong}");
        assert!(text(&told.stderr).contains("its beginning or its end, at least 4 of its digits"), "{told:?}");
    }
}

/// A started program that is killed when the test ends.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(folder: &Folder) -> (Running, String) {
    let (running, operations, _) = serve_with_gateway(folder);
    (running, operations)
}

/// The program, and where it serves operators and offices.
fn serve_with_gateway(folder: &Folder) -> (Running, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_punte"))
        .args(["serve", "--config", &folder.config()])
        .env("PUNTE__GATEWAY__LISTEN", "127.0.0.1:0")
        .env("PUNTE__OPERATIONS__LISTEN", "127.0.0.1:0")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let running = Running(child);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let (mut seen, mut gateway) = (String::new(), String::new());
    loop {
        let line = receiver.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("not started: {seen}"));
        seen += &line;
        if let Some((_, address)) = line.split_once("the gateway listens address=") {
            gateway = address.trim().to_owned();
        }
        if let Some((_, address)) = line.split_once("health and metrics are served address=") {
            // Keep the pipe open for as long as the program lives.
            std::thread::spawn(move || while receiver.recv().is_ok() {});
            return (running, address.trim().to_owned(), gateway);
        }
    }
}

#[test]
fn serve_stops_in_order_when_it_is_told_to() {
    let folder = Folder::new();
    let (mut running, _) = serve(&folder);
    let again = Command::new(env!("CARGO_BIN_EXE_punte")).args(["serve", "--config", &folder.config()]).output();
    let again = again.unwrap();
    assert_eq!(code(&again), 1);
    assert!(text(&again.stderr).contains("another process works on this journal"), "{}", text(&again.stderr));
    let told = Instant::now();
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let status = running.0.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
}

#[test]
fn a_journal_that_was_opened_with_sqlite3_after_a_crash_is_taken_up_again() {
    let folder = Folder::new();
    drop(serve(&folder));
    let log = folder.0.path().join("punte-data/journal.db-wal");
    assert!(log.exists(), "it was not killed");
    let raw = rusqlite::Connection::open(folder.journal_path()).unwrap();
    raw.query_row("SELECT count(*) FROM submissions", (), |row| row.get::<_, u32>(0)).unwrap();
    drop(raw);
    assert!(!log.exists(), "the log was not put into the file");
    drop(serve(&folder));
    // What is lost is lost.
    std::fs::remove_file(log).unwrap();
    let refused = punte(&["serve", "--config", &folder.config()]);
    assert!(code(&refused) == 3 && text(&refused.stderr).contains("is not whole"), "{}", text(&refused.stderr));
}

/// Of a process of one role alone: the keys that check names and serve refuses to start with; none if it finds no fault.
fn refused_apart(folder: &Folder, role: &str) -> Vec<String> {
    let checked = punte(&["check", "--json", "--role", role, "--config", &folder.config()]);
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let faults = report["faults"].as_array().unwrap();
    assert_eq!(code(&checked), if faults.is_empty() { 0 } else { 3 }, "{report}");
    if !faults.is_empty() {
        let served = punte(&["serve", "--role", role, "--config", &folder.config()]);
        let said = text(&served.stderr);
        assert_eq!(code(&served), 3, "{said}");
        let is_said = |fault: &Value| said.contains(fault["problem"].as_str().unwrap());
        assert!(faults.iter().all(is_said) && said.lines().count() == faults.len(), "{said}: {report}");
    }
    faults.iter().map(|fault| fault["key"].as_str().unwrap().to_owned()).collect()
}

/// The notifier was called courier in earlier releases.
#[test]
fn the_notifiers_old_name_is_taken_and_warned_of_as_role_and_as_key() {
    let folder = Folder::new();
    folder.edit("punte.toml", "# notifier = ", "courier = ");
    let config = folder.config();
    let checked = punte(&["check", "--json", "--role", "courier", "--config", &config]);
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    // As any role alone with the example's SQLite journal and embedded broker.
    let keys: Vec<_> = report["faults"].as_array().unwrap().iter().map(|fault| fault["key"].clone()).collect();
    assert_eq!(keys, ["broker.kind", "journal.url"], "{report}");
    assert!(report["warnings"].to_string().contains("write --role notifier"), "{report}");
    let together = text(&punte(&["check", "--config", &config]).stdout);
    assert!(together.contains("operations.notifier = \"127.0.0.1:9093\"    "), "{together}");
    assert!(together.contains("warning: operations.courier: this key is named operations.notifier now"), "{together}");
    let served = text(&punte(&["serve", "--role", "courier", "--config", &config]).stderr);
    assert!(served.contains("WARN") && served.contains("write --role notifier"), "{served}");
    let told = text(&punte(&["serve", "--help"]).stdout);
    assert!(told.contains("notifier") && !told.contains("courier"), "{told}");
}

#[test]
fn check_foresees_what_serve_would_refuse_of_a_role_alone() {
    let folder = Folder::new();
    assert_eq!(refused_apart(&folder, "worker"), ["broker.kind", "journal.url"]);
    folder.edit("punte.toml", "url = \"sqlite:../punte-data/journal.db\"", "url = \"postgres://u@localhost/d\"");
    assert_eq!(refused_apart(&folder, "scheduler"), ["broker.kind"]);
    folder.edit("punte.toml", "kind = \"embedded\"", "kind = \"rabbitmq\"\nuri = \"amqp://localhost/%2f\"");
    assert!(refused_apart(&folder, "worker").is_empty());
    // The worker's port is derived from it.
    folder.edit("punte.toml", "\"127.0.0.1:9090\"", "\"127.0.0.1:8442\"");
    assert_eq!(refused_apart(&folder, "worker"), ["operations.worker"]);
    assert!(refused_apart(&folder, "scheduler").is_empty());
    assert_eq!(code(&punte(&["check", "--config", &folder.config()])), 0);
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/punte@.service");
    assert!(std::fs::read_to_string(unit).unwrap().contains("punte check --role %i "));
}

#[test]
fn what_is_in_effect_is_listed_of_both_files_whatever_is_wrong() {
    let folder = Folder::new();
    let webhook = "[offices.causeni.webhook]\nurl = \"https://hooks.example:8443/canary?canary\"\nsecret_files = [\"nowhere\"]\n\
                   [offices.shkoder]";
    folder.edit("offices.toml", "[offices.shkoder]", webhook);
    folder.edit("punte.toml", "idempotency_key_days = 30 ", "idempotency_key_days = 3 ");
    let checked = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
        command.args(["check", "--config", &folder.config()]).args(more);
        let run = command.env("PUNTE__JOURNAL__URL", "sqlite:../elsewhere/journal.db").output().unwrap();
        assert_eq!(code(&run), 3);
        text(&run.stdout)
    };
    let listed = checked(&[]);
    for part in [
        "idempotency_key_days: is too short",
        "journal.url = \"sqlite:../elsewhere/journal.db\"    environment variable PUNTE__JOURNAL__URL, over line ",
        "warning: journal.url: the environment variable PUNTE__JOURNAL__URL wins over line ",
        "offices.shkoder.requests_per_minute = 600    default",
        "offices.causeni.webhook.url = \"https://hooks.example:8443/…\"    ",
        "offices.toml:",
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    assert!(!listed.contains("canary"), "{listed}");
    let report: Value = serde_json::from_str(&checked(&["--json"])).unwrap();
    assert!(report["settings"].as_array().unwrap().iter().any(|it| it["key"] == "journal.url"), "{report}");
    assert!(report["warnings"].to_string().contains("wins over line"), "{report}");
}

#[test]
fn a_webhook_whose_host_is_unknown_or_private_is_told_when_others_are_met() {
    let folder = Folder::new();
    std::fs::write(folder.0.path().join("config/webhook"), "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz").unwrap();
    let webhook =
        "[offices.causeni.webhook]\nurl = \"https://hooks.invalid/\"\nsecret_files = [\"webhook\"]\n[offices.shkoder]";
    folder.edit("offices.toml", "[offices.shkoder]", webhook);
    let fault = |arguments: &[&str]| {
        let checked = punte(&[&["check", "--json", "--config", &folder.config()], arguments].concat());
        let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
        let is_of_webhook = |fault: &&Value| fault["key"].as_str().unwrap().starts_with("offices.causeni.webhook");
        report["faults"].as_array().unwrap().iter().find(is_of_webhook).map(ToString::to_string)
    };
    assert_eq!(fault(&[]), None);
    let told = fault(&["--online"]).unwrap();
    assert!(told.contains("offices.causeni.webhook.url") && told.contains("not known to this machine"), "{told}");
    // In whatever way this machine is called.
    for host in ["localhost:9000", "hooks.localhost", "localhost."] {
        let before = std::fs::read_to_string(folder.0.path().join("config/offices.toml")).unwrap();
        folder.edit("offices.toml", "hooks.invalid", host);
        let told = fault(&[]).unwrap();
        assert!(told.contains("not public") && told.contains("allow_private_addresses"), "{host}: {told}");
        std::fs::write(folder.0.path().join("config/offices.toml"), before).unwrap();
    }
}

#[tokio::test]
async fn an_operator_sees_and_replays_what_was_parked() {
    let folder = Folder::new();
    let fault = Fault::new(punte::domain::Code::TemplateFailed, Stage::Transform, "request.xml, line 7");
    let id = folder.with_waiting(Effect::Idempotent, |attempt| Event::GivenUp { attempt, fault }).await.to_string();
    let config = folder.config();
    let listed = punte(&["parked", "list", "--json", "--config", &config]);
    let parked: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&parked["id"], &parked["cause"]), (&json!(id), &json!("bus.template.failed")));
    let shown = punte(&["submissions", "show", &id, "--json", "--config", &config]);
    let shown_text = text(&shown.stdout);
    let shown: Value = serde_json::from_str(&shown_text).unwrap();
    assert_eq!(shown["fault"]["detail"], "request.xml, line 7");
    assert_eq!(shown["timeline"].as_array().unwrap().len(), 3);
    assert!(!shown_text.contains("2000000000777"), "the subject is shown: {shown_text}");
    let replayed = punte(&["parked", "replay", &id, "--config", &config]);
    assert_eq!((code(&replayed), text(&replayed.stdout)), (0, format!("{id}: accepted\n")));
    let again = punte(&["parked", "replay", &id, "--config", &config]);
    assert_eq!(code(&again), 1);
    assert!(text(&again.stderr).contains("not possible in state accepted"), "{}", text(&again.stderr));
}

#[tokio::test]
async fn what_the_agency_may_have_done_is_not_replayed_by_accident() {
    let folder = Folder::new();
    let fault = Fault::new(punte::domain::Code::NetworkReset, Stage::Send, "reset");
    let id = folder.with_waiting(Effect::Once, |attempt| Event::OutcomeUnknown { attempt, fault }).await.to_string();
    let config = folder.config();
    let refused = punte(&["parked", "replay", &id, "--config", &config]);
    assert_eq!(code(&refused), 1);
    assert!(text(&refused.stderr).contains("--effect-may-repeat"), "{}", text(&refused.stderr));
    let discarded = punte(&["parked", "discard", &id, "--by", "A. Operator, ticket 7", "--config", &config]);
    assert_eq!(code(&discarded), 0, "{}", text(&discarded.stderr));
    let journal = SqliteJournal::open(&folder.journal_path()).unwrap();
    let record = journal.find(id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(record.progress.state.name(), StateName::Cancelled);
    let timeline = journal.timeline(id.parse().unwrap()).await.unwrap();
    assert_eq!(timeline.last().unwrap().cause, "discarded by A. Operator, ticket 7");
}

#[tokio::test]
async fn an_operator_says_what_has_become_of_what_the_agency_may_have_done() {
    let folder = Folder::new();
    let config = folder.config();
    let fault = || Fault::new(punte::domain::Code::NetworkReset, Stage::Send, "reset");
    let uncertain = async || {
        let unknown = |attempt| Event::OutcomeUnknown { attempt, fault: fault() };
        folder.with_waiting(Effect::Once, unknown).await.to_string()
    };
    let resolve = |id: &str, words: &[&str]| {
        punte(&[&["uncertain", "resolve", id, "--by", "A. Operator, ticket 7", "--config", &config], words].concat())
    };
    let shown = |id: &str| -> Value {
        serde_json::from_slice(&punte(&["submissions", "show", id, "--json", "--config", &config]).stdout).unwrap()
    };
    let example = "adapters/civil-registry/person-lookup/examples/found-with-address/answer.json";
    let example = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(example)).unwrap();
    let answer = serde_json::from_slice::<Value>(&example).unwrap()["answer"].clone();
    let good = folder.0.path().join("answer.json");
    std::fs::write(&good, answer.to_string()).unwrap();
    let good = good.to_str().unwrap();
    let bad = folder.0.path().join("bad.json");
    std::fs::write(&bad, r#"{"no such member": 1}"#).unwrap();

    let id = uncertain().await;
    for (words, told) in [
        (&["--ask-again"][..], "cannot be asked by our reference"),
        (&["--happened", "--answer", bad.to_str().unwrap()], "does not fit the answer schema of person-lookup"),
        (&["--happened", "--answer", "/nowhere.json"], "cannot be read"),
    ] {
        let refused = resolve(&id, words);
        assert_eq!(code(&refused), 1, "{words:?}");
        assert!(text(&refused.stderr).contains(told), "{}", text(&refused.stderr));
    }
    for words in [&[][..], &["--happened", "--did-not-happen"], &["--did-not-happen", "--answer", good]] {
        assert_eq!(code(&resolve(&id, words)), 2, "{words:?}");
    }
    let done = resolve(&id, &["--happened", "--answer", good]);
    assert_eq!((code(&done), text(&done.stdout)), (0, format!("{id}: completed\n")), "{}", text(&done.stderr));
    let journal = SqliteJournal::open(&folder.journal_path()).unwrap();
    let record = journal.find(id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(record.progress.state, State::Completed { answer: Some(Answer(answer)) });
    journal.close().await;
    let line = shown(&id)["timeline"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(line["by"], "operator A. Operator, ticket 7");
    assert_eq!(line["cause"], "found to have happened, with its answer, by A. Operator, ticket 7");
    assert_eq!(shown(&id)["timeline"][0]["by"], "office causeni");
    assert_eq!(shown(&id)["timeline"][1]["by"], "machine");
    let again = resolve(&id, &["--did-not-happen"]);
    assert_eq!(code(&again), 1);
    assert!(text(&again.stderr).contains("it is completed"), "{}", text(&again.stderr));

    let id = uncertain().await;
    assert_eq!(text(&resolve(&id, &["--happened"]).stdout), format!("{id}: completed\n"));
    let id = uncertain().await;
    let listed = punte(&["uncertain", "list", "--json", "--config", &config]);
    assert!(text(&listed.stdout).contains(&id) && text(&listed.stdout).lines().count() == 1);
    assert_eq!(text(&resolve(&id, &["--did-not-happen"]).stdout), format!("{id}: accepted\n"));
    assert_eq!((&shown(&id)["state"], &shown(&id)["in_doubt"]), (&json!("accepted"), &json!(false)));
}

/// Two operators' commands, each a process of its own, decide otherwise, while the lease of the attempt runs out and its late
/// answer comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_operators_a_late_answer_and_a_lease_that_runs_out_at_once_exactly_one_decides() {
    let folder = Folder::new();
    let config = folder.config();
    let mut deciders = std::collections::BTreeSet::new();
    for round in 0..8 {
        let journal = Arc::new(SqliteJournal::open(&folder.journal_path()).unwrap());
        let submission = submission(Effect::Once);
        let (id, now) = (submission.id, jiff::Timestamp::now());
        let key = IdempotencyKey { key: id.to_string(), body_sha256: [0; 32] };
        journal.accept(&submission, &key, false, None).await.unwrap();
        let begun = Event::Begun { attempt: 1, lease_until: now, asks_first: true };
        journal.record(id, Entry::new(begun, now)).await.unwrap();
        let operator = |name: &'static str, word: &'static str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
            command.args(["uncertain", "resolve", &id.to_string(), word, "--by", name, "--config", &config]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let late = |event: Event, after_ms: u64| {
            let journal = journal.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                journal.record(id, Entry::new(event, jiff::Timestamp::now())).await.is_ok()
            })
        };
        let fault = Fault::new(Code::Interrupted, Stage::Send, "the worker's lease ran out");
        let lapses = late(Event::OutcomeUnknown { attempt: 1, fault }, 0);
        // In every second round so late that an operator has time to be first.
        let answered = Event::Answered { attempt: 1, answer: Answer(json!({"from": "the agency"})) };
        let answers = late(answered, if round % 2 == 0 { 3 } else { 3000 });
        lapses.await.unwrap();
        let [mut jane, mut john] = [operator("jane", "--happened"), operator("john", "--did-not-happen")];
        let jane = jane.wait().unwrap().success();
        let john = john.wait().unwrap().success();
        let agency = answers.await.unwrap();
        let won: Vec<_> =
            [("jane", jane), ("john", john), ("agency", agency)].into_iter().filter(|it| it.1).map(|it| it.0).collect();
        assert_eq!(won.len(), 1, "{won:?}");
        deciders.extend(won.clone());
        let (record, timeline) = journal.find_whole(id).await.unwrap().unwrap();
        let (state, by) = (&record.progress.state, timeline.last().unwrap().by.clone().unwrap());
        match won[0] {
            "jane" => assert_eq!((state, by), (&State::Completed { answer: None }, Actor::Operator("jane".into()))),
            "john" => assert_eq!((state, by), (&State::Accepted, Actor::Operator("john".into()))),
            _ => assert!(matches!(state, State::Completed { answer: Some(_) }) && by == Actor::Machine),
        }
        let left = timeline.iter().filter(|it| it.from == Some(StateName::Uncertain)).count();
        assert!(left <= 1, "{timeline:?}");
        drop(journal);
    }
    assert!(deciders.len() > 1, "it was always the same one: {deciders:?}");
}

/// Twelve submissions that are parked, and differ at the ends of their ids alone.
async fn with_twelve_parked(folder: &Folder) -> Vec<String> {
    let journal = SqliteJournal::open(&folder.journal_path()).unwrap();
    let mut ids = Vec::new();
    for number in 1..=12 {
        let id: uuid::Uuid = format!("0199f2a4-7c11-7000-8000-0000000000{number:02}").parse().unwrap();
        let (now, key) = (jiff::Timestamp::now(), IdempotencyKey { key: id.to_string(), body_sha256: [0; 32] });
        let submission = Submission { id: id.into(), ..submission(Effect::Idempotent) };
        journal.accept(&submission, &key, false, None).await.unwrap();
        let fault = Fault::new(Code::AgencyUnknown, Stage::Queue, "");
        journal.record(submission.id, Entry::new(Event::Parked { fault }, now)).await.unwrap();
        ids.push(id.to_string());
    }
    journal.close().await;
    ids
}

#[tokio::test]
async fn an_operator_names_a_submission_by_as_much_of_its_id_as_tells_it_apart() {
    let folder = Folder::new();
    let (config, ids) = (folder.config(), with_twelve_parked(&folder).await);
    let punte = |arguments: &[&str]| punte(&[arguments, &["--config", &config]].concat());
    let states = || {
        let listed = text(&punte(&["submissions", "list"]).stdout);
        ["parked", "accepted", "cancelled"].map(|state| listed.matches(&format!("{state:<9}  person-lookup")).count())
    };
    let shown: Value =
        serde_json::from_slice(&punte(&["submissions", "show", "8000-000000000007", "--json"]).stdout).unwrap();
    assert_eq!(shown["id"], ids[6]);
    let erased = punte(&["submissions", "erase-wire", "0007"]);
    assert_eq!((code(&erased), text(&erased.stdout)), (0, format!("{}: the bytes of 0 attempts are erased\n", ids[6])));

    // The beginning is everybody's: some of them are listed, and nothing is done, be the others ever so clear.
    let refused = punte(&["parked", "replay", "0001", "0199F2A4", "0002"]);
    assert_eq!((code(&refused), text(&refused.stdout).as_str()), (1, ""));
    let told = text(&refused.stderr);
    for part in ["begin or end with 0199f2a4", "nothing was done", "person-lookup", &ids[11][..], "… and more"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert_eq!(told.lines().filter(|line| line.starts_with("0199f2a4-") && line.contains("parked")).count(), 10);
    let year = jiff::Timestamp::now().strftime("%Y-").to_string();
    assert!(told.lines().filter(|line| line.starts_with("0199f2a4-")).all(|line| line.contains(&year)), "{told}");
    // Neither is it where one of them is nobody's.
    for unknown in ["ffff", "0199f2a4-7c11-7000-8000-000000000099"] {
        let refused = punte(&["parked", "discard", "0001", unknown, "--by", "A. Operator"]);
        assert_eq!(code(&refused), 1);
        let told = text(&refused.stderr);
        assert!(told.contains(unknown) && told.contains("the journal knows no submission"), "{told}");
    }
    assert_eq!(states(), [12, 0, 0]);

    let replayed = punte(&["parked", "replay", "0001", "00000000-0002", &ids[0]]);
    assert_eq!((code(&replayed), text(&replayed.stdout)), (0, format!("{}: accepted\n{}: accepted\n", ids[0], ids[1])));
    let discarded = punte(&["parked", "discard", "0003", "--by", "A. Operator"]);
    assert_eq!((code(&discarded), text(&discarded.stdout)), (0, format!("{}: cancelled\n", ids[2])));
    assert_eq!(states(), [9, 2, 1]);
}

/// The first try ended after the rows were erased and before the journal's files were tidied, because they were in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_erased_a_second_time_are_in_no_file_of_the_journal() {
    const CANARY: &str = "CANARY-3c9e";
    let folder = Folder::new();
    let journal = SqliteJournal::open(&folder.journal_path()).unwrap();
    let submission = submission(Effect::Read);
    let (id, now) = (submission.id, jiff::Timestamp::now());
    let key = IdempotencyKey { key: id.to_string(), body_sha256: [0; 32] };
    journal.accept(&submission, &key, false, None).await.unwrap();
    let begun = Event::Begun { attempt: 1, lease_until: now, asks_first: true };
    journal.record(id, Entry::new(begun, now)).await.unwrap();
    let wire = WireRecord { sent: CANARY.into(), received: CANARY.into(), ..WireRecord::default() };
    let given_up = Event::GivenUp { attempt: 1, fault: Fault::new(Code::AgencyFault, Stage::Read, "") };
    journal.record(id, Entry { wire: Some(wire), ..Entry::new(given_up, now) }).await.unwrap();
    assert!(journal.erase_wire(jiff::Timestamp::now(), now).await.unwrap() > 0);
    let data = folder.journal_path().parent().unwrap().to_owned();
    assert!(files_with(&data, CANARY) > 0, "there are no traces");

    let erased = punte(&["submissions", "erase-wire", &id.to_string(), "--config", &folder.config()]);
    assert_eq!((code(&erased), text(&erased.stdout)), (0, format!("{id}: the bytes of 0 attempts are erased\n")));
    assert_eq!(files_with(&data, CANARY), 0);
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let folder = Folder::new();
    let fault = Fault::new(punte::domain::Code::TemplateFailed, Stage::Transform, "request.xml, line 7");
    folder.with_waiting(Effect::Idempotent, |attempt| Event::GivenUp { attempt, fault }).await;
    let listed = format!("{} submissions list --config {}", env!("CARGO_BIN_EXE_punte"), folder.config());
    for (line, expected) in [
        // The reader is gone before the first line is written.
        (format!("({listed}; echo $? >&3) | true"), "0"),
        (format!("({listed} >/dev/full; echo $? >&3)"), "1"),
    ] {
        let shell = format!("exec 3>&1; {}", line.replace("| true", "| (exec <&-; sleep 0.5)"));
        let output = Command::new("bash").args(["-c", &shell]).output().unwrap();
        assert_eq!(text(&output.stdout).trim(), expected, "{line}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
    }
}

#[test]
fn looking_does_not_make_a_journal() {
    let folder = Folder::new();
    let listed = punte(&["parked", "list", "--config", &folder.config()]);
    assert_eq!(code(&listed), 1);
    assert!(text(&listed.stderr).contains("there is no journal at"), "{}", text(&listed.stderr));
    assert!(!folder.journal_path().exists());
}

#[test]
fn check_tells_of_certificates_that_end_soon_and_of_offices_that_cannot_be_told_apart() {
    let folder = Folder::new();
    let gateway = folder.0.path().join("config/secrets/gateway");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "10"])
        .args(["-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.pem"])
        .current_dir(&gateway)
        .output();
    assert!(made.unwrap().status.success());
    let checked = punte(&["check", "--json", "--config", &folder.config()]);
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!((code(&checked), report["ok"].as_bool()), (0, Some(true)), "{report}");
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("gateway: the certificate CN=localhost ends on"), "{warnings}");
    folder.edit("offices.toml", "GOVAL-0000000000002", "GOVMD-0000000000001");
    let checked = punte(&["check", "--config", &folder.config()]);
    assert_eq!(code(&checked), 3);
    assert!(text(&checked.stdout).contains("would be office"), "{}", text(&checked.stdout));
    assert!(text(&checked.stdout).ends_with("\n1 fault\n"), "{}", text(&checked.stdout));
}

#[test]
fn an_agency_that_would_be_stopped_has_the_same_exit_code_when_agencies_are_met() {
    let folder = Folder::new();
    std::fs::write(folder.0.path().join("config/secrets/agencies/legal-events/ca.pem"), "none").unwrap();
    for more in [&[][..], &["--online"]] {
        let checked = punte(&[&["check", "--json", "--config", &folder.config()], more].concat());
        let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
        assert_eq!((code(&checked), report["ok"].as_bool()), (3, Some(false)), "{more:?}: {report}");
        assert!(report["faults"].to_string().contains("legal-events/ca.pem"), "{more:?}: {report}");
        assert!(report["subjects"].is_array(), "{more:?}: {report}");
    }
}

#[test]
fn check_says_how_it_has_read_each_subject() {
    let folder = Folder::new();
    let town_hall = r#"subject = "C=AL,O=Town hall\\, North,CN=desk""#;
    folder.edit("offices.toml", "organization_identifier = \"GOVAL-0000000000002\"", town_hall);
    let signer = "ca = \"ca.pem\"\nsubject = \"message signer\"";
    folder.edit("../adapters/civil-registry/agency.toml", "certificates = [\"answer-signing.pem\"]", signer);
    let read = [
        ("office shkoder", r"C=AL, O=Town hall\, North, CN=desk"),
        ("agency civil-registry, seal.answer", r#"any subject whose only common name is "message signer""#),
    ];
    let checked = punte(&["check", "--config", &folder.config()]);
    let listed = text(&checked.stdout);
    assert_eq!(code(&checked), 0, "{listed}");
    for (place, read) in read {
        let line = format!("{place}: the subject is read as {read}");
        assert!(listed.lines().any(|have| have == line), "{line} is not in\n{listed}");
    }
    let checked = punte(&["check", "--json", "--config", &folder.config()]);
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let read = read.map(|(place, read)| json!({"place": place, "read": read}));
    assert_eq!((code(&checked), &report["subjects"]), (0, &json!(read)), "{report}");
}

#[test]
fn wrong_settings_hide_no_missing_keys_and_a_faulty_adapter_is_no_fault_of_the_offices() {
    let folder = Folder::new();
    folder.edit("punte.toml", "listen = \"0.0.0.0:8443\"", "listen = \"everywhere\"");
    std::fs::remove_file(folder.0.path().join("config/secrets/agencies/legal-events/ca.pem")).unwrap();
    let checked = punte(&["check", "--config", &folder.config()]);
    assert!(text(&checked.stdout).contains("legal-events/ca.pem"), "{}", text(&checked.stdout));
    let folder = Folder::new();
    std::fs::write(folder.0.path().join("adapters/legal-events/legal-event/answer.jq"), "{").unwrap();
    let checked = punte(&["check", "--config", &folder.config()]);
    let listed = text(&checked.stdout);
    assert!(listed.lines().filter(|line| line.contains(" → ")).all(|line| !line.contains("offices.toml")), "{listed}");
}

fn signal(child: &std::process::Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// Whose certificate the gateway shows now.
fn fingerprint_at(address: &str) -> String {
    let line = format!("openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint");
    text(&Command::new("bash").args(["-c", &line]).output().unwrap().stdout)
}

#[test]
fn a_hangup_has_the_gateway_take_up_its_new_certificate_at_once() {
    let folder = Folder::new();
    let (running, _, gateway) = serve_with_gateway(&folder);
    let before = fingerprint_at(&gateway);
    assert!(before.contains('='), "{before}");
    let other = Folder::new();
    let secrets = |folder: &Folder, file: &str| folder.0.path().join("config/secrets/gateway").join(file);
    for file in ["server.key", "server.pem"] {
        std::fs::copy(secrets(&other, file), secrets(&folder, file)).unwrap();
    }
    signal(&running.0, "-HUP");
    let told = Instant::now();
    while fingerprint_at(&gateway) == before {
        assert!(told.elapsed() < Duration::from_secs(10), "the old certificate is still shown");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn serve_lives_on_when_nobody_reads_its_log_any_more() {
    let folder = Folder::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_punte"))
        .args(["serve", "--log", "debug", "--config", &folder.config()])
        .env("PUNTE__GATEWAY__LISTEN", "127.0.0.1:0")
        .env("PUNTE__OPERATIONS__LISTEN", "127.0.0.1:0")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| Some(line.split_once("health and metrics are served address=")?.1.to_owned()));
    drop(lines);
    let running = Running(child);
    let address = address.unwrap();
    signal(&running.0, "-HUP");
    std::thread::sleep(Duration::from_millis(300));
    let health = Command::new("curl").args(["-sS", &format!("http://{}/healthz/live", address.trim())]).output();
    let health = health.unwrap();
    assert!(health.status.success(), "{}", text(&health.stderr));
    signal(&running.0, "-TERM");
    let mut running = running;
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

fn demo(temporary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
    command.arg("demo").args(arguments).env("TMPDIR", temporary).current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn the_demo_prints_one_json_line_a_submission_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let shown = demo(temporary.path(), &["--json"]).output().unwrap();
    assert_eq!(code(&shown), 0, "{}", text(&shown.stderr));
    let lines: Vec<Value> = text(&shown.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys = ["agency", "attempts", "cause", "id", "protocol", "service", "state"];
    for line in &lines {
        let mut found: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, keys, "{line}");
    }
    // Without the moment since which it has waited.
    let cause = |line: &Value| match line["cause"].as_str() {
        Some(cause) => json!(cause.split(": waiting for the agency since 2").next().unwrap()),
        None => Value::Null,
    };
    let ends: Vec<_> = lines.iter().map(|line| (line["state"].as_str().unwrap(), cause(line))).collect();
    assert_eq!(
        ends,
        [
            ("completed", Value::Null),
            ("completed", Value::Null),
            ("completed", Value::Null),
            ("refused", json!("agency.refused: person-not-found")),
            ("completed", json!("network.reset")),
            ("parked", json!("agency.answer.signature")),
        ]
    );
    assert!(is_empty(temporary.path()));
}

#[test]
fn the_demo_tidies_up_when_it_is_told_to_stop() {
    for signal_name in ["-TERM", "-INT"] {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = demo(temporary.path(), &["--stay"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("parked replay --all")), "no invitation");
        assert!(!is_empty(temporary.path()));
        signal(&child, signal_name);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal_name}");
        assert!(is_empty(temporary.path()), "{signal_name}");
    }
}

#[test]
fn the_demo_says_soon_that_a_broker_is_not_there() {
    let temporary = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let shown = demo(temporary.path(), &["--broker", "amqp://guest:geheim@localhost:1/%2f"]).output().unwrap();
    assert_eq!(code(&shown), 1);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let said = text(&shown.stderr);
    assert!(said.contains("RabbitMQ cannot be reached") && !said.contains("geheim"), "{said}");
    assert!(is_empty(temporary.path()));
    for wrong in ["amqps://localhost", "localhost:5672", "http://localhost"] {
        assert_eq!(code(&demo(temporary.path(), &["--broker", wrong]).output().unwrap()), 2, "{wrong}");
    }
}

#[tokio::test]
async fn the_demo_over_rabbitmq_counts_what_passes_and_removes_its_queues() {
    let uri = std::env::var("PUNTE_TEST_AMQP_URL").unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let shown = demo(temporary.path(), &["--broker", &uri]).output().unwrap();
    let said = text(&shown.stdout);
    assert_eq!(code(&shown), 0, "{said}{}", text(&shown.stderr));
    let (_, after) = said.split_once("quorum queues ").unwrap();
    let prefix = after.split(".work.").next().unwrap();
    for (queue, number) in [("civil-registry", 5), ("civil-registry.urgent", 1), ("legal-events", 3)] {
        let line =
            said.lines().find(|line| line.contains(&format!("{prefix}.work.{queue} ")) && line.contains("carried"));
        let counted = format!(" {number} carried to the worker");
        assert!(line.is_some_and(|line| line.ends_with(&counted)), "{queue}: {said}");
    }
    assert!(said.contains(&format!("The queues {prefix}.* are removed")), "{said}");
    let connection = lapin::Connection::connect(&uri, Default::default()).await.unwrap();
    let options = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = format!("{prefix}.work.civil-registry");
    let channel = connection.create_channel().await.unwrap();
    assert!(channel.queue_declare(queue.into(), options, Default::default()).await.is_err());
}

#[test]
fn throw_away_keys_are_made_for_every_agency_that_has_a_folder_of_the_kind_its_profile_names() {
    let folder = tempfile::tempdir().unwrap();
    let adapters = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adapters");
    let out = folder.path().join("secrets");
    let made = punte(&["pki", "dev", "--out", out.to_str().unwrap(), "--adapters", adapters.to_str().unwrap()]);
    assert_eq!(code(&made), 0, "{}", text(&made.stderr));
    for (agency, kind) in [("event-desk", "rsaEncryption"), ("population-register", "id-ecPublicKey")] {
        let certificate = out.join("agencies").join(agency).join("signing.pem");
        let shown = Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(certificate).output().unwrap();
        assert!(text(&shown.stdout).contains(kind), "{agency}: {}", text(&shown.stdout));
    }
}

/// What the pages call a file is one, and what it links to is there.
#[test]
fn every_file_that_the_texts_name_exists() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for page in [
        "README.md",
        "SECURITY.md",
        "adapters/README.md",
        "benches/README.md",
        "deploy/README.md",
        "schemas/README.md",
        "src/README.md",
        "tests/README.md",
    ] {
        let source = std::fs::read_to_string(project.join(page)).unwrap();
        let folder = project.join(page).parent().unwrap().to_owned();
        for target in source.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.starts_with("http") && !target.starts_with('#') {
                assert!(folder.join(target).exists(), "{page} links to {target}");
                named += 1;
            }
        }
        let roots = ["src/", "tests/", "config/", "schemas/", "adapters/", "deploy/", ".ci/"];
        for word in source.split('`').skip(1).step_by(2).filter(|word| !word.contains([' ', '<', '*', '…'])) {
            if roots.iter().any(|root| word.starts_with(root)) && word != "config/secrets" {
                assert!(project.join(word).exists(), "{page} names {word}");
                named += 1;
            }
        }
    }
    assert!(named > 25, "only {named}");
}

#[tokio::test]
async fn what_was_replayed_once_is_not_replayed_again_unasked_and_who_did_it_is_kept() {
    let folder = Folder::new();
    let config = folder.config();
    let unknown = |attempt| Event::OutcomeUnknown { attempt, fault: Fault::new(Code::NetworkReset, Stage::Send, "") };
    let id = folder.with_waiting(Effect::Once, unknown).await.to_string();
    let replay = |more: &[&str]| {
        let mut arguments = vec!["parked", "replay", "--config", &config];
        arguments.extend(more);
        punte(&arguments)
    };
    let refused = replay(&[&id]);
    assert_eq!(code(&refused), 1);
    assert!(text(&refused.stderr).contains("--effect-may-repeat"), "{}", text(&refused.stderr));
    // Named twice, and accepted once.
    let replayed = replay(&[&id, &id, "--effect-may-repeat", "--by", "A. Operator, ticket 7"]);
    assert_eq!((code(&replayed), text(&replayed.stdout)), (0, format!("{id}: accepted\n")));
    let again = replay(&[&id, "--effect-may-repeat"]);
    assert_eq!(code(&again), 1);
    assert!(text(&again.stderr).contains("not possible in state accepted"), "{}", text(&again.stderr));
    let shown = punte(&["submissions", "show", &id, "--config", &config, "--json"]);
    let shown = text(&shown.stdout);
    assert!(shown.contains("replayed although attempt 1 may repeat, by A. Operator, ticket 7"), "{shown}");
}

#[tokio::test]
async fn what_has_waited_too_long_for_an_operator_can_only_be_discarded_and_says_so() {
    let folder = Folder::new();
    let config = folder.config();
    let given_up = |attempt| Event::GivenUp { attempt, fault: Fault::new(Code::TemplateFailed, Stage::Transform, "") };
    let id = folder.with_waiting(Effect::Read, given_up).await.to_string();
    let journal = SqliteJournal::open(&folder.journal_path()).unwrap();
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    assert_eq!(journal.erase_parked(later, later).await.unwrap(), 1);
    journal.close().await;
    let refused = punte(&["parked", "replay", &id, "--config", &config]);
    assert_eq!(code(&refused), 1);
    assert!(text(&refused.stderr).contains("content was erased"), "{}", text(&refused.stderr));
    assert!(text(&punte(&["parked", "list", "--config", &config]).stdout).contains(&id));
    assert_eq!(code(&punte(&["parked", "discard", &id, "--by", "A. Operator", "--config", &config])), 0);
}

#[test]
fn pki_dev_does_not_write_over_what_is_there() {
    let folder = Folder::new();
    let secrets = folder.0.path().join("config/secrets");
    let again = punte(&["pki", "dev", "--out", secrets.to_str().unwrap()]);
    assert_eq!(code(&again), 1);
    assert!(text(&again.stderr).contains("is not empty"));
}

#[test]
fn pki_dev_adds_offices_agencies_and_second_certificates_and_keeps_its_authorities() {
    let folder = Folder::new();
    let secrets = folder.0.path().join("config/secrets");
    let everything = || {
        let listed =
            Command::new("sh").args(["-c", "find . -type f | sort | xargs sha256sum"]).current_dir(&secrets).output();
        text(&listed.unwrap().stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = everything();
    let out = secrets.to_str().unwrap();
    let add = |more: &[&str]| punte(&[&["pki", "dev", "--out", out][..], more].concat());
    let added =
        add(&["--office", "durres", "--office", "causeni", "--agency", "tax-office", "--agency", "legal-events"]);
    assert_eq!(code(&added), 0, "{}", text(&added.stderr));
    assert_eq!(code(&add(&["--office", "durres"])), 0);
    let after = everything();
    assert!(before.iter().all(|line| after.contains(line)), "something was written over");
    for file in [
        "offices/durres.pem",
        "offices/durres-2.key",
        "offices/causeni-2.pem",
        "agencies/tax-office/client.pem",
        "simulators/tax-office/server.key",
        "agencies/legal-events/client-2.key",
    ] {
        assert!(secrets.join(file).is_file(), "{file}");
    }
    let verified = |ca: &str, file: &str| {
        let verify = Command::new("openssl").args(["verify", "-CAfile", ca, file]).current_dir(&secrets).output();
        assert!(verify.unwrap().status.success(), "{file} is not of {ca}");
    };
    verified("gateway/office-ca.pem", "offices/durres-2.pem");
    verified("agencies/legal-events/ca.pem", "agencies/legal-events/client-2.pem");
    let told = text(&added.stdout);
    assert!(told.contains("[[offices.durres.certificates]] organization_identifier = \"GOVXX-1"), "{told}");
    std::fs::remove_dir_all(secrets.join("authorities")).unwrap();
    let refused = add(&["--office", "durres"]);
    assert!(code(&refused) == 1 && text(&refused.stderr).contains("authorities' keys"), "{}", text(&refused.stderr));
}
