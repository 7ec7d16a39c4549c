//! Due times, deadlines, cancelling, restarts: what the scheduler and the journal do together.

use crate::environment::{CITIZEN, TestEnvironment, request, services_of_small_attachments};
use punte::kit::test_stack::TestStackPlan;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_comes_when_it_is_due() {
    let env = TestEnvironment::planned(|plan| {
        plan.retry = "first_wait_secs = 1\nmax_wait_secs = 2\nmax_attempts = 3\njitter = 0\n"
    })
    .await;
    env.behave("civil-registry", json!({"fault": {"status": {"code": 503}}, "times": 1}));
    let id = env.post("person-lookup").await;
    let shown = env.ends(&id, "completed").await;
    let at = |state: &str, last: bool| -> jiff::Timestamp {
        let timeline = shown["timeline"].as_array().unwrap();
        let mut changes = timeline.iter().filter(|change| change["state"] == state);
        let change = if last { changes.next_back() } else { changes.next() };
        change.unwrap()["at"].as_str().unwrap().parse().unwrap()
    };
    let waited = at("sending", true).duration_since(at("retrying", false));
    assert!((1000..1400).contains(&waited.as_millis()), "waited {waited:?} instead of 1 s");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_what_was_certainly_not_done() {
    let env =
        TestEnvironment::planned(|plan| plan.retry = "first_wait_secs = 30\nmax_wait_secs = 30\nmax_attempts = 9\n")
            .await;
    env.behave("civil-registry", json!({"fault": "busy"}));
    let mut hurried = request("civil-status-extract", CITIZEN);
    hurried["expires_at"] = json!((jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2)).to_string());
    let id = env.post_request(&hurried).await;
    let shown = env.ends(&id, "expired").await;
    assert_eq!(shown["fault"]["code"], "bus.deadline.passed", "{shown:#}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_leaves_doubt_goes_in_front_of_an_operator() {
    let env =
        TestEnvironment::planned(|plan| plan.retry = "first_wait_secs = 30\nmax_wait_secs = 30\nmax_attempts = 9\n")
            .await;
    env.behave("civil-registry", json!({"fault": "reset-after-effect"}));
    let mut hurried = request("civil-status-extract", CITIZEN);
    hurried["expires_at"] = json!((jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2)).to_string());
    let id = env.post_request(&hurried).await;
    let shown = env.ends(&id, "parked").await;
    assert_eq!(shown["fault"]["code"], "bus.deadline.in-doubt", "{shown:#}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_office_cancels_what_was_not_sent_and_nothing_else() {
    let env =
        TestEnvironment::planned(|plan| plan.retry = "first_wait_secs = 30\nmax_wait_secs = 30\nmax_attempts = 9\n")
            .await;
    env.behave("civil-registry", json!([{"fault": "busy", "times": 1}, {"fault": "reset-after-effect", "times": 1}]));
    let unsent = env.post("civil-status-extract").await;
    env.until(&unsent, &["retrying"]).await;
    let (status, body) = env.cancel(&unsent).await;
    assert_eq!(status, 200, "{body:#}");
    env.ends(&unsent, "cancelled").await;
    let in_doubt = env.post("civil-status-extract").await;
    env.until(&in_doubt, &["retrying"]).await;
    let (status, problem) = env.cancel(&in_doubt).await;
    assert_eq!((status, &problem["code"]), (409, &json!("office.submission.not-cancellable")));
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_at_a_stop_is_finished_after_the_start() {
    let mut env = TestEnvironment::started().await;
    env.behave("civil-registry", json!({"delay_ms": 1500}));
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(env.post("civil-status-extract").await);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // No grace: what is being sent is cut off, as by a crash.
    env.stack.stop(Duration::ZERO).await;
    env.behave("civil-registry", json!(null));
    env.stack.start().await.unwrap();
    for id in &ids {
        env.ends(id, "completed").await;
    }
    let ledger = env.simulator("civil-registry").ledger();
    assert_eq!(ledger.len(), ids.len(), "each was done once, whatever was repeated");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_the_office_reaches_the_agency() {
    let env = TestEnvironment::started().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    let posting = env.posting("traced", request("person-lookup", CITIZEN).to_string()).header("prefer", "wait=20");
    let response = posting.header("traceparent", traceparent).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let ledger = env.simulator("civil-registry").ledger();
    let seen = ledger[0].traceparent.as_deref().unwrap_or_default();
    assert!(seen.starts_with(&format!("00-{trace}-")) && !seen.contains("00f067aa0ba902b7"), "{seen}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_key_files_are_taken_up_and_bad_ones_are_not() {
    let env = TestEnvironment::started().await;
    let folder = env.stack.secrets().join("agencies/civil-registry");
    let rogue = env.stack.secrets().join("rogue");
    let good = std::fs::read(folder.join("client.pem")).unwrap();
    // A certificate that does not fit its key is refused: the old pair stays in use.
    std::fs::copy(rogue.join("office.pem"), folder.join("client.pem")).unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let id = env.post("person-lookup").await;
    env.ends(&id, "completed").await;
    // A pair that fits is taken up, and the agency does not know its issuer.
    std::fs::copy(rogue.join("office.key"), folder.join("client.key")).unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let id = env.post("person-lookup").await;
    let shown = env.until(&id, &["retrying", "parked"]).await;
    assert_eq!(shown["fault"]["code"], "bus.identity.refused", "{shown:#}");
    drop(good);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_that_has_expired_cannot_sign_waits_unsent() {
    let env = TestEnvironment::started().await;
    let folder = env.stack.secrets().join("agencies/civil-registry");
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    let now = Duration::from_secs(jiff::Timestamp::now().as_second().try_into().unwrap());
    // Long enough to be taken up.
    parameters.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + Duration::from_secs(9);
    std::fs::write(folder.join("signing.key"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("signing.pem"), parameters.self_signed(&key).unwrap().pem()).unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    let before = env.simulator("civil-registry").requests();
    let id = env.post("person-lookup").await;
    let begun = std::time::Instant::now();
    loop {
        let shown = env.show(&id).await;
        assert!(begun.elapsed() < Duration::from_secs(30), "{shown:#}");
        let last = shown["timeline"].as_array().unwrap().last().unwrap().clone();
        if (&last["state"], &last["cause"]) == (&json!("accepted"), &json!("put back unsent")) {
            break;
        }
        assert!(!["completed", "retrying", "parked"].contains(&shown["state"].as_str().unwrap()), "{shown:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(env.simulator("civil-registry").requests(), before, "it was sent");
    env.leave().await;
}

/// Changes a file of the test stack while it is stopped.
fn edit(env: &TestEnvironment, file: &str, change: impl Fn(String) -> String) {
    let path = env.stack.folder.path().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, change(text)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_of_an_agency_that_is_no_longer_there_come_in_front_of_an_operator() {
    let patient = |plan: &mut punte::kit::test_stack::TestStackPlan| {
        plan.retry = "first_wait_secs = 2\nmax_wait_secs = 2\nmax_attempts = 9\n";
    };
    let mut env = TestEnvironment::with_adapters(|_, text| text, patient).await;
    env.behave("legal-events", json!({"fault": {"status": {"code": 503}}}));
    let id = env.post("legal-event").await;
    env.until(&id, &["retrying"]).await;
    env.stack.stop(Duration::from_secs(5)).await;
    std::fs::remove_dir_all(env.adapters().join("legal-events")).unwrap();
    edit(&env, "punte.toml", |text| text.split("\n[agencies.legal-events]").next().unwrap().to_owned());
    edit(&env, "offices.toml", |text| text.replace("\"legal-event\", ", ""));
    env.stack.start().await.unwrap();
    let shown = env.ends(&id, "parked").await;
    assert_eq!(shown["fault"]["code"], "bus.agency.unknown", "{shown:#}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_of_an_operation_that_is_no_longer_there_come_in_front_of_an_operator() {
    let patient = |plan: &mut punte::kit::test_stack::TestStackPlan| {
        plan.retry = "first_wait_secs = 2\nmax_wait_secs = 2\nmax_attempts = 9\n";
    };
    let mut env = TestEnvironment::with_adapters(|_, text| text, patient).await;
    env.behave("civil-registry", json!({"fault": {"status": {"code": 503}}}));
    let id = env.post("person-lookup").await;
    env.until(&id, &["retrying"]).await;
    env.stack.stop(Duration::from_secs(5)).await;
    let folder = env.adapters().join("civil-registry");
    std::fs::remove_dir_all(folder.join("person-lookup")).unwrap();
    let file = folder.join("agency.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (head, tail) = text.split_once("[operations.person-lookup]").unwrap();
    let (_, tail) = tail.split_once("[operations.civil-status-extract]").unwrap();
    std::fs::write(file, format!("{head}[operations.civil-status-extract]{tail}")).unwrap();
    edit(&env, "offices.toml", |text| text.replace(", \"person-lookup\"", ""));
    env.stack.start().await.unwrap();
    let shown = env.ends(&id, "parked").await;
    assert_eq!(shown["fault"]["code"], "bus.operation.unknown", "{shown:#}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_goes_to_the_agency_with_its_submission() {
    let services = services_of_small_attachments();
    let change = |text: String| {
        let line = "{%- if attachments %}\n  \"event_source\": {{ attachments[0].sha256 }},\n  \"object\": {{ attachments[0].base64 }},\n  {%- else %}\n  \"event_source\": {{ office }},\n  {%- endif %}";
        text.replace("\"event_source\": {{ office }},", line)
    };
    let plan = |plan: &mut TestStackPlan| plan.services = services.path().to_owned();
    let env = TestEnvironment::with_template_and("legal-events/legal-event/request.json", change, plan).await;
    let bytes = b"%PDF-1.7 a small paper";
    let uploaded = env
        .office
        .post(format!("{}/v1/attachments", env.stack.gateway()))
        .header("content-type", "application/pdf")
        .header("content-disposition", "attachment; filename=\"paper.pdf\"")
        .body(bytes.to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(uploaded.status().as_u16(), 201);
    let uploaded: Value = serde_json::from_slice(&uploaded.bytes().await.unwrap()).unwrap();
    let mut request = request("legal-event", CITIZEN);
    request["attachments"] = json!([uploaded["id"]]);
    let id = env.post_request(&request).await;
    env.ends(&id, "completed").await;
    let attempts = env.stack.process().unwrap().journal.attempts(id.parse().unwrap()).await.unwrap();
    let sent = String::from_utf8(attempts[0].wire.clone().unwrap().sent).unwrap();
    let token = sent.rsplit("\r\n\r\n").next().unwrap();
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    let event: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(event["event_source"], uploaded["sha256"], "{event:#}");
    assert_eq!(event["object"], base64::engine::general_purpose::STANDARD.encode(bytes));
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_show_what_is_in_a_state_now_and_none_where_there_is_none_any_more() {
    let env = TestEnvironment::planned(|plan| plan.more_config = "[scheduler]\nlost_after_secs = 1\n".into()).await;
    env.behave("legal-events", json!({"delay_ms": 1500}));
    let id = env.post("legal-event").await;
    let gauge = |state: &str, count: u32| {
        format!("punte_submissions_in_state{{agency=\"legal-events\",state=\"{state}\"}} {count}\n")
    };
    for expected in [[gauge("sending", 1), gauge("retrying", 0)], [gauge("sending", 0), gauge("retrying", 0)]] {
        let begun = std::time::Instant::now();
        loop {
            let metrics = env.operations("/metrics").await;
            if expected.iter().all(|line| metrics.contains(line)) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(15), "not {expected:?}: {metrics}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    env.ends(&id, "completed").await;
    env.leave().await;
}
