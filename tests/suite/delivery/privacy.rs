//! A personal number never appears in a URL, a log line, a metric or an error: a whole environment is run with canaries.

use super::answers::{UNFORESEEN, env_that_breaks_a_contract};
use crate::environment::request;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

/// Numbers and words that must stay where they belong.
const PERSON: &str = "2000000099901";
const CLERK: &str = "2000000099902";
const NOTE: &str = "canary-note-99903";
const NOBODY: &str = "2000000099904";

fn canary(service: &str, person: &str) -> Value {
    let mut request = request(service, person);
    request["context"]["clerk"] = json!(CLERK);
    match service {
        "civil-status-extract" => request["data"]["note"] = json!(NOTE),
        "legal-event" => request["data"]["message"] = json!(NOTE),
        _ => {}
    }
    request
}

fn assert_clean(what: &str, text: &str) {
    for canary in [PERSON, CLERK, NOTE, NOBODY] {
        if let Some(place) = text.find(canary) {
            let around = &text[place.saturating_sub(300)..(place + 100).min(text.len())];
            panic!("{canary} is in {what}: … {around} …");
        }
    }
}

/// Runs in a process of its own, because what a program logs goes to its standard error.
#[test]
fn no_personal_number_is_in_any_log_url_metric_or_error() {
    let this = std::env::current_exe().unwrap();
    let child = Command::new(this)
        .args(["delivery::privacy::an_installation_with_canaries", "--exact", "--nocapture", "--test-threads=1"])
        .env("PUNTE_TEST_CANARIES", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let (log, output) = (String::from_utf8_lossy(&child.stderr), String::from_utf8_lossy(&child.stdout));
    assert!(child.status.success(), "{output}\n{log}");
    // The log is at its most talkative, and really there.
    assert!(log.lines().count() > 50 && log.contains("the agency answered"), "{log}");
    assert_clean("the log", &log);
    assert_clean("an error, a URL or a metric", &output);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_with_canaries() {
    if std::env::var("PUNTE_TEST_CANARIES").is_ok() {
        punte::telemetry::begin_logging(punte::telemetry::LogFormat::Text, "trace,h2=info,rustls=info,mio=info")
            .unwrap();
    }
    let schedule = "first_wait_secs = 0.1\nmax_wait_secs = 0.2\nmax_attempts = 2\n";
    let env = env_that_breaks_a_contract(|plan| plan.retry = schedule).await;
    let mut ids = Vec::new();
    for service in ["person-lookup", "civil-status-extract", "legal-event"] {
        ids.push(env.post_request(&canary(service, PERSON)).await);
    }
    ids.push(env.post_request(&canary("person-lookup", NOBODY)).await);
    let mut unforeseen = canary("person-lookup", PERSON);
    unforeseen["context"]["reason"] = json!(UNFORESEEN);
    ids.push(env.post_request(&unforeseen).await);
    for id in &ids {
        env.until(id, &["completed", "refused", "parked"]).await;
    }
    for fault in [
        json!("garbage"),
        json!("wrong-signature"),
        json!({"soap-fault": {"blames": "server"}}),
        json!("reset-after-effect"),
    ] {
        env.behave("civil-registry", json!({"fault": fault}));
        let id = env.post_request(&canary("civil-status-extract", PERSON)).await;
        env.until(&id, &["parked", "retrying"]).await;
        ids.push(id);
    }
    // What offices are told when they are wrong.
    for wrong in wrong_requests() {
        let (status, problem) = env.post_raw(&wrong).await;
        assert!((400..500).contains(&status), "{status} {problem}");
        println!("{problem}");
    }
    // What operators are shown.
    let config = env.stack.config();
    for id in &ids {
        let shown = Command::new(env!("CARGO_BIN_EXE_punte"))
            .args(["submissions", "show", id, "--json", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
        println!("{}", String::from_utf8_lossy(&shown.stdout));
    }
    for path in ["/metrics", "/healthz/ready"] {
        println!("{}", env.operations(path).await);
    }
    // The first line of what was sent: method and URL.
    let journal = &env.stack.process().unwrap().journal;
    let mut urls = 0;
    for id in &ids {
        for attempt in journal.attempts(id.parse().unwrap()).await.unwrap() {
            let sent = attempt.wire.unwrap().sent;
            println!("{}", String::from_utf8_lossy(sent.split(|byte| *byte == b'\r').next().unwrap()));
            urls += 1;
        }
    }
    assert!(urls > 5, "only {urls} requests were looked at");
    env.leave().await;
}

fn wrong_requests() -> Vec<Value> {
    let mut unknown_service = canary("person-lookup", PERSON);
    unknown_service["service"] = json!("no-such-service");
    let mut wrong_type = canary("civil-status-extract", PERSON);
    wrong_type["data"]["copies"] = json!(PERSON);
    let mut wrong_enum = canary("civil-status-extract", PERSON);
    wrong_enum["data"]["act"] = json!(NOTE);
    let mut unknown_member = canary("person-lookup", PERSON);
    unknown_member["subject"]["more"] = json!(PERSON);
    let mut wrong_time = canary("person-lookup", PERSON);
    wrong_time["expires_at"] = json!(PERSON);
    let wrong_person = canary("person-lookup", &format!("{PERSON}x"));
    vec![
        wrong_person,
        unknown_service,
        wrong_type,
        wrong_enum,
        unknown_member,
        wrong_time,
        json!(PERSON),
        json!([PERSON]),
    ]
}
