//! Large attachments on the road: what they cost in memory, whether or not the agency gets what is in them.

use crate::town::{CITIZEN, Town, request};
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

async fn upload(town: &Town, bytes: &[u8]) -> Value {
    let post = town.office.post(format!("{}/v1/attachments", town.stage.gateway()));
    let said = post.header("content-type", "application/pdf").body(bytes.to_vec()).send().await.unwrap();
    assert_eq!(said.status().as_u16(), 201);
    serde_json::from_slice(&said.bytes().await.unwrap()).unwrap()
}

fn file(size_bytes: usize) -> Vec<u8> {
    [b"%PDF-".as_slice(), &vec![b'x'; size_bytes - 5]].concat()
}

/// One submission with each; all of them at once.
async fn submit(town: &Town, attachments: &[Value]) -> Vec<String> {
    let post = |attachment: &Value| {
        let mut request = request("legal-event", CITIZEN);
        request["attachments"] = json!([attachment["id"]]);
        async move { town.post_request(&request).await }
    };
    let ids = futures_util::future::join_all(attachments.iter().map(post)).await;
    for id in &ids {
        town.ends(id, "completed").await;
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
async fn growth_bytes(town: &Town, size_bytes: usize) -> (usize, String) {
    let uploaded = upload(town, &file(size_bytes)).await;
    submit(town, std::slice::from_ref(&uploaded)).await;
    forget_peak();
    let before = peak_bytes();
    let ids = submit(town, &vec![uploaded; 8]).await;
    (peak_bytes() - before, ids[0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_whose_contents_no_agency_gets_take_no_memory() {
    let town = Town::found().await;
    let (grown, _) = growth_bytes(&town, 10 * MIB).await;
    assert!(grown < 10 * MIB, "{} MiB", grown / MIB);
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_whose_contents_an_agency_gets_wait_until_there_is_room_for_them() {
    let town = Town::with_template("legal-events/legal-event/request.json", |text| {
        let line = "{% if attachments %}\"object\": {{ attachments[0].base64 }},{% endif %}\n  \"event_source\"";
        text.replace("\"event_source\"", line)
    })
    .await;
    let (grown, id) = growth_bytes(&town, 8 * MIB).await;
    // Agency and office are in this process as well; all eight at once take a hundred MiB more than this.
    assert!(grown < 430 * MIB, "{} MiB", grown / MIB);
    let attempts = town.stage.process().unwrap().journal.attempts(id.parse().unwrap()).await.unwrap();
    let wire = attempts[0].wire.as_ref().unwrap();
    assert_eq!((wire.sent.len(), wire.truncated), (262_144, true));
    town.leave().await;
}
