//! Attachments in delivery: what large ones cost in memory, whether or not the agency gets what is in them, and that nothing
//! of them is left after their time.

use crate::environment::{CITIZEN, TestEnvironment, request, services_of_small_attachments};
use jiff::{SignedDuration, Timestamp};
use punte::{domain::ManualClock, kit::test_stack::TestStackPlan};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};

const MIB: usize = 1 << 20;
const CANARY: &str = "CANARY-8b2e";

async fn upload(env: &TestEnvironment, bytes: &[u8]) -> Value {
    let post = env.office.post(format!("{}/v1/attachments", env.stack.gateway()));
    let named = format!("attachment; filename=\"{CANARY}.pdf\"");
    let post = post.header("content-type", "application/pdf").header("content-disposition", named);
    let said = post.body(bytes.to_vec()).send().await.unwrap();
    assert_eq!(said.status().as_u16(), 201);
    serde_json::from_slice(&said.bytes().await.unwrap()).unwrap()
}

fn file(size_bytes: usize) -> Vec<u8> {
    [b"%PDF-".as_slice(), &vec![b'x'; size_bytes - 5]].concat()
}

/// One submission with each; all of them at once.
async fn submit(env: &TestEnvironment, attachments: &[Value]) -> Vec<String> {
    let post = |attachment: &Value| {
        let mut request = request("legal-event", CITIZEN);
        request["attachments"] = json!([attachment["id"]]);
        async move { env.post_request(&request).await }
    };
    let ids = futures_util::future::join_all(attachments.iter().map(post)).await;
    for id in &ids {
        env.ends(id, "completed").await;
    }
    ids
}

/// The most memory that this process has had since the peak was forgotten.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// How far the peak rises while eight submissions with the attachment go, after one has gone; and one of the eight.
async fn growth_bytes(env: &TestEnvironment, size_bytes: usize) -> (usize, String) {
    let uploaded = upload(env, &file(size_bytes)).await;
    submit(env, std::slice::from_ref(&uploaded)).await;
    forget_peak();
    let before = peak_bytes();
    let ids = submit(env, &vec![uploaded; 8]).await;
    (peak_bytes() - before, ids[0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_whose_contents_no_agency_gets_take_no_memory() {
    let env = TestEnvironment::started().await;
    let (grown, _) = growth_bytes(&env, 10 * MIB).await;
    assert!(grown < 10 * MIB, "{} MiB", grown / MIB);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_whose_contents_an_agency_gets_wait_until_there_is_room_for_them() {
    let services = services_of_small_attachments();
    let change = |text: String| {
        let line = "{% if attachments %}\"object\": {{ attachments[0].base64 }},{% endif %}\n  \"event_source\"";
        text.replace("\"event_source\"", line)
    };
    let plan = |plan: &mut TestStackPlan| plan.services = services.path().to_owned();
    let env = TestEnvironment::with_template_and("legal-events/legal-event/request.json", change, plan).await;
    let (grown, id) = growth_bytes(&env, 8 * MIB).await;
    // Agency and office are in this process as well; all eight at once take a hundred MiB more than this.
    assert!(grown < 430 * MIB, "{} MiB", grown / MIB);
    let attempts = env.stack.process().unwrap().journal.attempts(id.parse().unwrap()).await.unwrap();
    let wire = attempts[0].wire.as_ref().unwrap();
    assert_eq!((wire.sent.len(), wire.truncated), (262_144, true));
    env.leave().await;
}

/// The template prints each paper in one case and none in another, which no example shows.
#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_that_the_template_passes_over_is_not_left_out_in_silence() {
    let env = TestEnvironment::with_template("legal-events/legal-event/request.json", |text| {
        text.replace("{%- if attachments %}", "{%- if attachments and data.event_type != \"Punte.Residence.Closed\" %}")
    })
    .await;
    let uploaded = upload(&env, &file(100)).await;
    submit(&env, std::slice::from_ref(&uploaded)).await;
    let requests = env.simulator("legal-events").requests();
    let mut request = request("legal-event", CITIZEN);
    request["attachments"] = json!([uploaded["id"]]);
    request["data"]["event_type"] = json!("Punte.Residence.Closed");
    let id = env.post_request(&request).await;
    let shown = env.ends(&id, "parked").await;
    assert_eq!(shown["fault"]["code"], "bus.template.failed", "{shown:#}");
    assert_eq!(env.simulator("legal-events").requests(), requests, "something was sent");
    env.leave().await;
}

/// How many files there are below the folder in which the text stands.
fn files_with(folder: &Path, text: &str) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let number = entries.map(|path| match std::fs::read(&path) {
        Ok(bytes) => usize::from(bytes.windows(text.len()).any(|it| it == text.as_bytes())),
        Err(_) if path.is_dir() => files_with(&path, text),
        // Removed meanwhile.
        Err(_) => 0,
    });
    number.sum()
}

/// Of one whose submission waits for an operator, and of one that nobody has used.
#[tokio::test(flavor = "multi_thread")]
async fn after_their_time_nothing_of_attachments_is_left_in_any_file() {
    let clock = Arc::new(ManualClock::at(Timestamp::now()));
    let mut env = TestEnvironment::planned(|plan| plan.clock = clock.clone()).await;
    let data = env.stack.folder.path().join("data");
    let bytes = [file(5), CANARY.as_bytes().repeat(1000)].concat();
    let used = upload(&env, &bytes).await;
    upload(&env, &bytes).await;
    env.behave("legal-events", json!({"fault": {"status": {"code": 400}}}));
    let mut request = request("legal-event", CITIZEN);
    request["attachments"] = json!([used["id"]]);
    let id = env.post_request(&request).await;
    env.ends(&id, "parked").await;
    assert_eq!(files_with(&data.join("attachments"), CANARY), 2);
    // Their names stand in the journal.
    assert!(files_with(&data, CANARY) > 2);
    let tidied = async |env: &mut TestEnvironment, hours: i64, left: usize| {
        clock.advance(SignedDuration::from_hours(hours));
        env.stack.stop(Duration::from_secs(5)).await;
        env.stack.start().await.unwrap();
        let begun = std::time::Instant::now();
        while files_with(&data.join("attachments"), CANARY) != left {
            assert!(begun.elapsed() < Duration::from_secs(20), "{left} were to be left");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tidied(&mut env, 25, 1).await;
    tidied(&mut env, 24 * 91, 0).await;
    env.stack.stop(Duration::from_secs(5)).await;
    assert_eq!(files_with(&data, CANARY), 0);
    env.leave().await;
}
