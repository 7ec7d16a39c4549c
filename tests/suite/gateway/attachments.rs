//! Uploading files, and naming them in a submission.

use super::environment::{OfficeClient, Open, Said, TestEnvironment, open, submission_request};
use crate::{environment::until, journal::Schema};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use punte::attachments::AttachmentStore;
use serde_json::json;
use std::{path::Path, sync::Arc, time::Duration};

const PDF: &[u8] = b"%PDF-1.7 nothing";
const PDF_SHA256: &str = "sha-256=:ZB2y4aqRjWRuaQKq2VWUK6iHl3JMIlBeYhfQHMYrl9w=:";

fn uploading(office: &OfficeClient, media_type: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    office.request(Method::POST, "/v1/attachments").header("content-type", media_type).body(body)
}

fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.map(|it| if it.path().is_dir() { files(&it.path()) } else { 1 }).sum()
}

fn refused(said: &Said, status: u16, code: &str) {
    assert_eq!((said.status.as_u16(), said.code()), (status, code), "{}", said.text);
}

fn stored(open: &Open) -> usize {
    files(&open.env.settings.attachments.folder)
}

fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    format!("sha-256=:{}:", STANDARD.encode(digest))
}

#[tokio::test]
async fn a_file_is_stored_and_can_be_named_in_a_submission() {
    let open = open().await;
    let office = open.office("causeni");
    let request = uploading(&office, "application/pdf", PDF)
        .header("content-digest", digest(PDF))
        .header("content-disposition", "attachment; filename=\"../extras.pdf\"");
    let said = office.send(request).await;
    assert_eq!((said.status.as_u16(), &said.json["name"]), (201, &json!("extras.pdf")));
    assert_eq!(said.json["size_bytes"], PDF.len());
    let mut request = submission_request();
    request["attachments"] = json!([said.json["id"]]);
    let submission = office.post("k1", &request).await.id();
    let attachment = open.env.journal.find(submission).await.unwrap().unwrap().submission.attachments.pop().unwrap();
    let store = AttachmentStore::open(&open.env.settings.attachments.folder).unwrap();
    assert_eq!(store.read(&attachment).await.unwrap(), PDF);
    let other = open.office("shkoder").post("k1", &request).await;
    refused(&other, 422, "office.attachment.unknown");
}

#[tokio::test]
async fn an_office_cannot_fill_the_disk_with_files_that_it_never_uses() {
    let open = open().await;
    let office = open.office("causeni");
    let file = [b"%PDF-1.7 ".to_vec(), vec![b'x'; 90_000]].concat();
    let mut last = String::new();
    for _ in 0..11 {
        let said = office.send(uploading(&office, "application/pdf", file.clone())).await;
        assert_eq!(said.status.as_u16(), 201, "{}", said.text);
        last = said.json["id"].as_str().unwrap().to_owned();
    }
    let said = office.send(uploading(&office, "application/pdf", file.clone())).await;
    refused(&said, 429, "office.attachment.quota");
    let other = open.office("shkoder");
    let said = other.send(uploading(&other, "application/pdf", file.clone())).await;
    assert_eq!(said.status.as_u16(), 201, "another office's share is its own: {}", said.text);
    // What a submission uses does not count.
    let mut request = submission_request();
    request["attachments"] = json!([last]);
    assert_eq!(office.post("uses-one", &request).await.status.as_u16(), 202);
    let said = office.send(uploading(&office, "application/pdf", file)).await;
    assert_eq!(said.status.as_u16(), 201, "{}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_at_once_get_no_more_room_than_one_by_one_and_what_submissions_name_counts() {
    let open = open().await;
    let office = open.office("causeni");
    let file = [b"%PDF-1.7 ".to_vec(), vec![b'x'; 90_000]].concat();
    let sized = || uploading(&office, "application/pdf", file.clone());
    let in_pieces = || {
        let pieces: Vec<_> = file.chunks(9_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
        uploading(&office, "application/pdf", reqwest::Body::wrap_stream(futures_util::stream::iter(pieces)))
    };
    let kept = async |requests: Vec<reqwest::RequestBuilder>| {
        let sent = futures_util::future::join_all(requests.into_iter().map(|request| office.send(request))).await;
        assert!(
            sent.iter().all(|said| matches!(said.status.as_u16(), 201 | 429)),
            "{:?}",
            sent.iter().map(|it| it.status)
        );
        let ids = sent.iter().filter_map(|said| said.json["id"].as_str().map(str::to_owned));
        ids.collect::<Vec<_>>()
    };
    let mut total = 0;
    for round in 0..4 {
        let requests = (0..40).map(|at| if at % 2 == 0 { sized() } else { in_pieces() }).collect();
        let ids = kept(requests).await;
        let unused = open.env.journal.attachment_bytes(&"causeni".parse().unwrap()).await.unwrap();
        assert!(unused.unused <= 1_000_000 && unused.office <= 3_000_000, "{unused:?}");
        total += ids.len();
        // Named in submissions they are used, and still take their room.
        for (at, ids) in ids.chunks(3).enumerate() {
            let mut request = submission_request();
            request["attachments"] = json!(ids);
            assert_eq!(office.post(&format!("names-{round}-{at}"), &request).await.status.as_u16(), 202);
        }
    }
    assert!((20..=33).contains(&total), "{total}");
    let said = office.send(sized()).await;
    assert!(total < 33 || said.code() == "office.attachment.quota", "{}", said.text);
}

/// Each gateway knows its own uploads alone; the journal that they share counts all.
#[tokio::test(flavor = "multi_thread")]
async fn forty_uploads_at_once_over_two_gateways_get_no_more_room_than_one_by_one() {
    let schema = Schema::new();
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let mut env = TestEnvironment::new();
        env.journal = Arc::new(schema.open().await);
        gateways.push(env.open().await);
    }
    let offices: Vec<_> = gateways.iter().map(|it| it.office("causeni")).collect();
    let file = [b"%PDF-1.7 ".to_vec(), vec![b'x'; 90_000]].concat();
    let uploads = (0..40).map(|at| offices[at % 2].send(uploading(&offices[at % 2], "application/pdf", file.clone())));
    let sent = futures_util::future::join_all(uploads).await;
    let statuses: Vec<_> = sent.iter().map(|said| said.status.as_u16()).collect();
    assert!(statuses.iter().all(|status| matches!(status, 201 | 429)), "{statuses:?}");
    let lies = gateways[0].env.journal.attachment_bytes(&"causeni".parse().unwrap()).await.unwrap();
    assert!(lies.unused <= 1_000_000, "{lies:?}, {statuses:?}");
    // No file of one that was refused is left, on either disk.
    let kept = statuses.iter().filter(|status| **status == 201).count();
    assert_eq!(gateways.iter().map(stored).sum::<usize>(), kept);
    for open in gateways {
        open.env.shutdown.cancel();
        open.ended.await.unwrap();
    }
    schema.remove().await;
}

#[tokio::test]
async fn a_service_takes_the_attachments_that_its_catalogue_names_and_no_others() {
    let open = open().await;
    let office = open.office("causeni");
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(office.send(uploading(&office, "application/pdf", PDF)).await.json["id"].clone());
    }
    let mut request = submission_request();
    request["attachments"] = json!(ids);
    let said = office.post("too-many", &request).await;
    refused(&said, 422, "office.attachment.not-taken");
    assert_eq!(said.pointers(), ["/attachments"]);
    request["attachments"] = json!(ids[..3]);
    assert_eq!(office.post("three", &request).await.status.as_u16(), 202);
    let described = office.send(office.request(Method::GET, "/v1/services/ledger-entry")).await;
    assert_eq!(described.json["attachments"]["at_most"], 3, "{}", described.text);
}

#[tokio::test]
async fn attachments_that_are_too_large_together_are_refused_before_they_could_only_be_parked() {
    let open = open().await;
    let office = open.office("causeni");
    let mut ids = Vec::new();
    for _ in 0..3 {
        let file = [PDF, &vec![b'x'; 95_000]].concat();
        ids.push(office.send(uploading(&office, "application/pdf", file)).await.json["id"].clone());
    }
    let mut request = submission_request();
    request["attachments"] = json!(ids);
    let said = office.post("too-large", &request).await;
    refused(&said, 422, "office.attachment.not-taken");
    assert_eq!(said.pointers(), ["/attachments"]);
    request["attachments"] = json!(ids[..2]);
    assert_eq!(office.post("two", &request).await.status.as_u16(), 202);
    let described = office.send(office.request(Method::GET, "/v1/services/ledger-entry")).await;
    assert_eq!(described.json["attachments"]["max_total_bytes"], 280_000, "{}", described.text);
}

/// Each of them has room left, and the disk has not.
#[tokio::test]
async fn files_of_all_offices_together_have_an_end_too() {
    let mut env = TestEnvironment::new();
    env.settings.attachments.max_stored_bytes = 4 * 4096;
    let open = env.open().await;
    let (one, other) = (open.office("causeni"), open.office("shkoder"));
    let upload = async |office: &OfficeClient| office.send(uploading(office, "application/pdf", PDF)).await;
    for office in [&one, &one, &other, &other] {
        assert_eq!(upload(office).await.status.as_u16(), 201);
    }
    for office in [&one, &other] {
        refused(&upload(office).await, 503, "bus.overloaded");
    }
    assert_eq!(stored(&open), 4);
}

/// What a file takes of the disk, and not what it says.
#[tokio::test]
async fn a_small_file_counts_as_the_room_that_it_takes() {
    let mut env = TestEnvironment::new();
    env.settings.attachments.max_unused_bytes_per_office = 2 * 4096;
    let open = env.open().await;
    let office = open.office("causeni");
    for expected in [201, 201, 429] {
        let said = office.send(uploading(&office, "application/pdf", PDF)).await;
        assert_eq!(said.status.as_u16(), expected, "{}", said.text);
    }
}

#[tokio::test]
async fn a_file_that_is_refused_leaves_nothing_behind() {
    let open = open().await;
    let office = open.office("causeni");
    let large = [PDF, &[b'x'; 200_000]].concat();
    refused(
        &office.send(uploading(&office, "application/pdf", large.clone())).await,
        413,
        "office.attachment.too-large",
    );
    let pieces = large.chunks(10_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
    let streamed = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    refused(&office.send(uploading(&office, "application/pdf", streamed)).await, 413, "office.attachment.too-large");
    let cases =
        [("text/html", PDF), ("application/pdf", b"GIF89a"), ("application/pdf", b"%PD"), ("application/xml", b"")];
    for (media_type, bytes) in cases {
        refused(&office.send(uploading(&office, media_type, bytes)).await, 415, "office.attachment.media-type");
    }
    let other = uploading(&office, "application/pdf", PDF).header("content-digest", PDF_SHA256);
    refused(&office.send(other).await, 422, "office.attachment.digest");
    let nonsense = uploading(&office, "application/pdf", PDF).header("content-digest", "sha-256=x");
    refused(&office.send(nonsense).await, 400, "office.request.header");
    assert_eq!(stored(&open), 0);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing_behind() {
    let open = open().await;
    let office = open.office("causeni");
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let stream =
        futures_util::stream::unfold(receiver, |mut it| async move { it.recv().await.map(|piece| (piece, it)) });
    let request = uploading(&office, "application/pdf", reqwest::Body::wrap_stream(stream));
    let upload = tokio::spawn(request.send());
    sender.send(Ok(PDF.to_vec())).await.unwrap();
    for _ in 0..100 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if stored(&open) == 1 {
            break;
        }
    }
    assert_eq!(stored(&open), 1);
    upload.abort();
    drop(sender);
    for _ in 0..100 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if stored(&open) == 0 {
            return;
        }
    }
    panic!("something was left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_office_that_goes_away_at_the_last_moment_leaves_no_file_without_a_record() {
    let schema = Schema::new();
    let mut env = TestEnvironment::new();
    env.journal = Arc::new(schema.open().await);
    let open = env.open().await;
    let office = open.office("causeni");
    let mut raw = schema.raw().await;
    let lock = raw.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE attachments IN EXCLUSIVE MODE").await.unwrap();
    let upload = tokio::spawn(uploading(&office, "application/pdf", PDF).send());
    let folder = open.env.settings.attachments.folder.clone();
    let named = || files(&folder) - files(&folder.join("incoming"));
    until(async || named() == 1).await;
    upload.abort();
    tokio::time::sleep(Duration::from_millis(500)).await;
    lock.rollback().await.unwrap();
    let name = "causeni".parse().unwrap();
    until(async || open.env.journal.attachment_bytes(&name).await.unwrap().office == 4096).await;
    assert_eq!(named(), 1);
    open.env.shutdown.cancel();
    open.ended.await.unwrap();
    schema.remove().await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_stops_the_start() {
    let mut env = TestEnvironment::new();
    env.settings.attachments.folder = env.pki.gateway("server.pem").join("below-a-file");
    assert!(env.try_open().await.is_err());
}
