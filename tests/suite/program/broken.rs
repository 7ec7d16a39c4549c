//! Configurations that are broken in many ways: whatever `serve` would refuse, `check` has foreseen, with its place and the way
//! out, and neither panics.

use super::*;
use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt};

fn run(folder: &Folder, subcommand: &str, variables: &[(&str, OsString)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
    command.args([subcommand, "--config", &folder.config()]).envs(variables.iter().cloned());
    if subcommand == "check" {
        command.arg("--json");
    }
    command.output().unwrap()
}

/// Both refuse it; the fault has this key, these words, and the line or the variable where it is written.
fn is_foreseen(folder: &Folder, variables: &[(&str, OsString)], key: &str, words: &str, place: &str) {
    let checked = run(folder, "check", variables);
    assert!(text(&checked.stderr).is_empty(), "{key}: {}", text(&checked.stderr));
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let faults = report["faults"].as_array().unwrap();
    let fault = faults.iter().find(|fault| fault["key"] == key && fault["problem"].as_str().unwrap().contains(words));
    let fault = fault.unwrap_or_else(|| panic!("{key}, {words}: {faults:#?}"));
    let file = fault["file"].as_str().unwrap();
    assert!(file.ends_with(place), "{key}: {fault}");
    assert!(fault["line"].is_u64() || !place.contains('.'), "{key}: {fault}");
    assert!(!fault["remedy"].as_str().unwrap().is_empty(), "{fault}");
    assert!(!report.to_string().contains("geheim"), "{report}");
    let served = run(folder, "serve", variables);
    let said = text(&served.stderr);
    assert_eq!(code(&served), 3, "{key}: {said}");
    assert!(said.contains(words) && !said.contains("panicked") && !said.contains("geheim"), "{key}: {said}");
}

const LISTEN: &str = "listen = \"0.0.0.0:8443\"";
const JOURNAL: &str = "url = \"sqlite:../punte-data/journal.db\"";
const BROKER: &str = "kind = \"embedded\"";
const STRUMICA: &str = "organization_identifier = \"GOVMK-0000000000003\"";

#[test]
fn what_serve_would_refuse_is_foreseen_with_file_line_key_and_way_out() {
    let folder = Folder::new();
    let config = folder.0.path().join("config");
    fs::write(config.join("broker-uri"), "amqp://u:geheim@localhost/%2f").unwrap();
    fs::write(config.join("two-lines"), "postgres://u:geheim@localhost/d\n# the old one\n").unwrap();
    fs::write(config.join("other-hosts"), "elsewhere:*:*:*:geheim\nelsewhere2:*:*:*:geheim\n").unwrap();
    fs::write(config.join("text.db"), "this is a text, and no journal").unwrap();
    fs::create_dir(config.join("folder.db")).unwrap();
    std::os::unix::fs::symlink("nowhere/x.db", config.join("link.db")).unwrap();
    let other = rusqlite::Connection::open(config.join("other.db")).unwrap();
    other.execute_batch("CREATE TABLE submissions (x); CREATE TABLE schema_version (version)").unwrap();
    drop(other);
    let journal = punte::journal::sqlite::SqliteJournal::open(&config.join("whole.db")).unwrap();
    fs::copy(config.join("whole.db"), config.join("copied.db")).unwrap();
    drop(journal);
    drop(punte::journal::sqlite::SqliteJournal::open(&config.join("newer.db")).unwrap());
    let newer = rusqlite::Connection::open(config.join("newer.db")).unwrap();
    newer.execute("INSERT INTO schema_version (version, applied_at) VALUES (999, 0)", ()).unwrap();
    drop(newer);
    let rabbitmq = |more: &str| format!("kind = \"rabbitmq\"\n{more}");
    let agency = |more: &str| format!("[agencies.{more}\n[webhooks]");
    let edits = [
        (
            "punte.toml",
            LISTEN,
            "listen = \"192.0.2.1:8443\"".to_owned(),
            "gateway.listen",
            "no address of this machine",
        ),
        ("punte.toml", LISTEN, "listen = \"everywhere\"".into(), "gateway.listen", "invalid socket address"),
        ("punte.toml", LISTEN, format!("{LISTEN}\nlisten_port = 1"), "gateway.listen_port", "unknown field"),
        ("punte.toml", LISTEN, format!("{LISTEN}\n{LISTEN}"), "", "duplicate key"),
        (
            "punte.toml",
            "# max_connections = 2000",
            "max_connections = \"many\"".into(),
            "gateway.max_connections",
            "expected",
        ),
        (
            "punte.toml",
            "\"127.0.0.1:9090\"",
            "\"127.0.0.1:8443\"".into(),
            "operations.listen",
            "is taken by gateway.listen",
        ),
        (
            "punte.toml",
            "# worker = \"127.0.0.1:9091\"",
            "worker = \"127.0.0.1:9092\"\nscheduler = \"127.0.0.1:9092\"".into(),
            "operations.scheduler",
            "the address of operations.worker as well",
        ),
        ("punte.toml", JOURNAL, "url = \"sqlite::memory:\"".into(), "journal.url", "names no file"),
        ("punte.toml", JOURNAL, "url = \"sqlite:j.db?mode=ro\"".into(), "journal.url", "no part of a path"),
        ("punte.toml", JOURNAL, "url = \"sqlite:folder.db\"".into(), "journal.url", "is a folder"),
        ("punte.toml", JOURNAL, "url = \"sqlite:text.db\"".into(), "journal.url", "no file of SQLite's"),
        ("punte.toml", JOURNAL, "url = \"sqlite:link.db\"".into(), "journal.url", "a link to a file that is not there"),
        ("punte.toml", JOURNAL, "url = \"sqlite:other.db\"".into(), "journal.url", "another program's database"),
        (
            "punte.toml",
            JOURNAL,
            "url = \"sqlite:copied.db\"".into(),
            "journal.url",
            "copied while a process had it open",
        ),
        ("punte.toml", JOURNAL, "url = \"sqlite:newer.db\"".into(), "journal.url", "is newer than this program"),
        ("punte.toml", JOURNAL, "url = \"sqlite:/proc/x.db\"".into(), "journal.url", "may not write in /proc"),
        ("punte.toml", JOURNAL, "url_file = \"two-lines\"".into(), "journal.url_file", "more than one line"),
        (
            "punte.toml",
            JOURNAL,
            "url = \"postgres://u@localhost/d\"\npassfile = \"other-hosts\"".into(),
            "journal.passfile",
            "has no line for",
        ),
        (
            "punte.toml",
            BROKER,
            rabbitmq("uri = \"amqp://localhost\"\nuri_file = \"broker-uri\""),
            "broker.uri",
            "given twice",
        ),
        ("punte.toml", BROKER, rabbitmq("uri = \"amqp://localhost/%2f?foo=geheim\""), "broker.uri", "`foo`"),
        (
            "punte.toml",
            BROKER,
            rabbitmq("uri = \"amqp://localhost\"\nprefix = \"amq\""),
            "broker.prefix",
            "cannot be used",
        ),
        (
            "punte.toml",
            BROKER,
            rabbitmq("uri = \"amqp://localhost\"\nca = \"secrets/gateway/server-ca.pem\""),
            "broker.ca",
            "nothing would be encrypted",
        ),
        (
            "punte.toml",
            BROKER,
            rabbitmq("uri = \"amqps://localhost\"\nca = \"secrets/gateway/server.key\""),
            "broker.ca",
            "holds no certificate",
        ),
        (
            "punte.toml",
            BROKER,
            rabbitmq("uri = \"amqp://u:geheim@localhost/geheim#1\""),
            "broker.uri",
            "which begins what addresses of this kind do not have",
        ),
        ("punte.toml", BROKER, rabbitmq("uri = \"amqp://localhost?heartbeat=0\""), "broker.uri", "`heartbeat` must be"),
        ("punte.toml", BROKER, format!("{BROKER}\nprefix = \"other\""), "broker.prefix", "only with RabbitMQ"),
        (
            "punte.toml",
            JOURNAL,
            "url = \"postgres://u:geheim@localhost/d?connect_timeout=5s\"".into(),
            "journal.url",
            "connect_timeout must be a number",
        ),
        (
            "punte.toml",
            JOURNAL,
            "url = \"postgres://u:geheim@localhost/d\"\npassfile = \"other-hosts\"".into(),
            "journal.passfile",
            "keep one of the two",
        ),
        ("punte.toml", BROKER, format!("{BROKER}\nuri_file = \"broker-uri\""), "broker.uri_file", "only with RabbitMQ"),
        (
            "punte.toml",
            "# data = \"../punte-data\"",
            "data = \"offices.toml/x\"".into(),
            "folders.data",
            "is no folder",
        ),
        (
            "punte.toml",
            "[webhooks]",
            agency("civil-registry]\nendpoint = \"https://u:geheim@registry.example/\""),
            "agencies.civil-registry.endpoint",
            "no https address",
        ),
        (
            "punte.toml",
            "[webhooks]",
            agency("civil-registry.retry]\nmax_wait_secs = 1"),
            "agencies.civil-registry.retry.first_wait_secs",
            "the agency's own [retry]",
        ),
        ("punte.toml", "[webhooks]", agency("civil-registri]"), "agencies.civil-registri", "no such adapter"),
        (
            "offices.toml",
            STRUMICA,
            "organization_identifier = \"\"".into(),
            "offices.strumica.certificates",
            "is empty",
        ),
        (
            "offices.toml",
            "title = \"Општина Струмица\"",
            "title = \"x\"\nwebhok = 1".into(),
            "offices.strumica.webhok",
            "unknown",
        ),
    ];
    for (file, from, to, key, words) in edits {
        folder.edit(file, from, &to);
        is_foreseen(&folder, &[], key, words, file);
        folder.edit(file, &to, from);
    }
    fs::create_dir_all(folder.0.path().join("punte-data/attachments")).unwrap();
    fs::write(folder.0.path().join("punte-data/attachments/incoming"), "").unwrap();
    is_foreseen(&folder, &[], "gateway.attachments.folder", "is no folder", "punte.toml");
}

#[test]
fn files_in_another_encoding_are_told_with_their_line_and_those_with_windows_marks_are_read() {
    let folder = Folder::new();
    let path = |file: &str| folder.0.path().join("config").join(file);
    let offices = fs::read(path("offices.toml")).unwrap();
    let line = 1 + text(&offices).lines().position(|line| line.contains("Shkodër")).unwrap();
    let in_latin_1 =
        text(&offices).replace('ë', "\u{1}").bytes().map(|byte| if byte == 1 { 0xeb } else { byte }).collect();
    fs::write::<_, Vec<u8>>(path("offices.toml"), in_latin_1).unwrap();
    is_foreseen(&folder, &[], "", "no text in UTF-8", "offices.toml");
    let listed = text(&punte(&["check", "--config", &folder.config()]).stdout);
    assert!(listed.contains(&format!("offices.toml:{line}: is no text in UTF-8 → save it as UTF-8")), "{listed}");
    let windows = |bytes: &[u8]| [b"\xef\xbb\xbf".to_vec(), text(bytes).replace('\n', "\r\n").into_bytes()].concat();
    fs::write(path("offices.toml"), windows(&offices)).unwrap();
    let settings = fs::read(path("punte.toml")).unwrap();
    fs::write(path("punte.toml"), windows(&settings)).unwrap();
    fs::write(path("journal-url"), "\u{feff}sqlite:../punte-data/journal.db\r\n").unwrap();
    folder.edit("punte.toml", JOURNAL, "url_file = \"journal-url\"");
    let checked = punte(&["check", "--config", &folder.config()]);
    assert_eq!(code(&checked), 0, "{}", text(&checked.stdout));
    fs::write(path("punte.toml"), text(&settings).encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())
        .unwrap();
    assert_eq!(code(&run(&folder, "check", &[])), 3);
    fs::write(path("punte.toml"), settings).unwrap();
    fs::write(path("offices.toml"), "").unwrap();
    let checked = punte(&["check", "--config", &folder.config()]);
    assert!(text(&checked.stdout).contains("there is no office"), "{}", text(&checked.stdout));
}

#[test]
fn variables_of_the_environment_that_cannot_be_used_are_told_by_name_and_others_are_nobodys_business() {
    let folder = Folder::new();
    let no_text = || OsString::from_vec(vec![b's', 0xff]);
    for (name, value, key, words) in [
        ("PUNTE__JOURNAL__URL", no_text(), "", "no text in UTF-8"),
        ("PUNTE__GATEWAY__LISTN", "x".into(), "gateway.listn", "unknown field"),
        ("PUNTE__GATEWAY__LISTEN", "".into(), "gateway.listen", "invalid socket address"),
        ("PUNTE__GATWAY__LISTEN", "x".into(), "gatway", "not known here"),
        ("PUNTE__GATEWAY__", "1".into(), "", "does not name a key"),
        ("PUNTE__", "1".into(), "", "does not name a key"),
        (
            "PUNTE__AGENCIES__CIVIL_REGISTRY__ENDPOINT",
            "http://x/".into(),
            "agencies.civil-registry.endpoint",
            "no https address",
        ),
    ] {
        is_foreseen(&folder, &[(name, value)], key, words, name);
    }
    let checked = run(&folder, "check", &[("LS_COLORS", no_text()), ("PUNTE_OTHER", no_text())]);
    assert_eq!(code(&checked), 0, "{}", text(&checked.stdout));
    let elsewhere = [("PUNTE__AGENCIES__CIVIL_REGISTRY__ENDPOINT", OsString::from("https://registry.example/"))];
    assert_eq!(code(&run(&folder, "check", &elsewhere)), 0);
}
