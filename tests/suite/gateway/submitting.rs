//! Submitting: once, often, at once with others, and waiting for the answer.

use super::environment::{CANARY, OfficeClient, Open, Said, TestEnvironment, open, submission_request};
use http::StatusCode;
use jiff::Timestamp;
use punte::{
    domain::{StateName, SubmissionId, TraceParent},
    journal::{ListFilter, sqlite::SqliteJournal},
};
use serde_json::json;
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

#[tokio::test]
async fn an_accepted_submission_has_a_number_a_place_and_a_deadline() {
    let open = open().await;
    let said = open.office("causeni").post("k1", &submission_request()).await;
    assert_eq!(said.status, StatusCode::ACCEPTED);
    assert_eq!(said.header("location"), Some(format!("/v1/submissions/{}", said.id()).as_str()));
    assert!(said.header("retry-after").is_some() && said.header("preference-applied").is_none());
    assert!(said.header("idempotent-replayed").is_none());
    assert_eq!((&said.json["state"], &said.json["agency"]), (&json!("accepted"), &json!("ledger")));
    let record = open.env.journal.find(said.id()).await.unwrap().unwrap().submission;
    assert_eq!(record.subject.id, CANARY);
    assert_eq!(record.expires_at.duration_since(record.accepted_at).as_secs(), 3600);
}

#[tokio::test]
async fn an_end_that_the_office_requests_counts_if_it_is_sooner_than_the_operations() {
    let open = open().await;
    let office = open.office("causeni");
    let now = Timestamp::now();
    for (key, wanted_secs, given_secs) in [("k1", 60, 60), ("k2", 7200, 3600)] {
        let mut request = submission_request();
        request["expires_at"] = (now + jiff::SignedDuration::from_secs(wanted_secs)).to_string().into();
        let said = office.post(key, &request).await;
        let expires_at: Timestamp = said.json["expires_at"].as_str().unwrap().parse().unwrap();
        let off = expires_at.duration_since(now).as_secs() - given_secs;
        assert!((-1..5).contains(&off), "{key}: {off}");
    }
}

#[tokio::test]
async fn a_hundred_requests_at_once_with_one_key_are_one_submission() {
    let open = open().await;
    let offices = [open.office("causeni"), open.client(Some(open.identity("causeni")), &[b"h2"])];
    let calls = (0..100).map(|number| {
        let office = offices[number % 2].clone();
        tokio::spawn(async move { office.post("the-key", &submission_request()).await })
    });
    let mut ids = HashSet::new();
    let mut replayed = 0;
    for call in calls.collect::<Vec<_>>() {
        let said = call.await.unwrap();
        assert_eq!(said.status, StatusCode::ACCEPTED);
        replayed += usize::from(said.header("idempotent-replayed") == Some("true"));
        ids.insert(said.id());
    }
    assert_eq!((ids.len(), replayed), (1, 99));
    assert_eq!(open.env.journal.list(&Default::default(), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_is_known_after_a_restart_and_belongs_to_one_body_of_one_office() {
    let open = open().await;
    let first = open.office("causeni").post("k1", &submission_request()).await;
    let mut env = open.close().await;
    env.shutdown = Default::default();
    env.journal = Arc::new(SqliteJournal::open(&env.folder.path().join("journal.db")).unwrap());
    let open = env.open().await;
    let office = open.office("causeni");
    let again = office.post("k1", &submission_request()).await;
    assert_eq!((again.id(), again.header("idempotent-replayed")), (first.id(), Some("true")));
    let mut other = submission_request();
    other["data"]["copies"] = 3.into();
    let refused = office.post("k1", &other).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (422, "office.idempotency-key.reused"));
    let named = refused.json["errors"][0]["problem"].as_str().unwrap();
    assert!(named.contains(&first.id().to_string()), "{named}");
    assert_ne!(open.office("shkoder").post("k1", &submission_request()).await.id(), first.id());
}

#[tokio::test]
async fn a_repeated_request_is_answered_even_if_it_could_not_be_made_anew() {
    let open = open().await;
    let office = open.office("causeni");
    let mut request = submission_request();
    request["expires_at"] = (Timestamp::now() + jiff::SignedDuration::from_millis(300)).to_string().into();
    let first = office.post("k1", &request).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(office.post("k1", &request).await.id(), first.id());
    assert_eq!(office.post("k2", &request).await.code(), "office.request.expires-at");
}

async fn answered_while_waiting(open: &Open, is_announced: bool) -> (super::environment::Said, Duration) {
    let begun = Instant::now();
    let office = open.office("causeni");
    let request = office.posting("k1", submission_request().to_string()).header("prefer", "respond-async, wait=20");
    let waiting = tokio::spawn(async move { office.send(request).await });
    let record = loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Some(record) = open.env.journal.list(&Default::default(), 1).await.unwrap().pop() {
            break record;
        }
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    open.settle(record.submission.id, json!({"number": "L-7"})).await;
    if is_announced {
        open.announce(record.submission.id, StateName::Completed).await;
    }
    (waiting.await.unwrap(), begun.elapsed())
}

#[tokio::test]
async fn a_request_that_waits_gets_the_answer_as_soon_as_it_is_there() {
    let open = open().await;
    let (said, took) = answered_while_waiting(&open, true).await;
    assert_eq!((said.status, &said.json["answer"]), (StatusCode::OK, &json!({"number": "L-7"})));
    assert_eq!(said.header("preference-applied"), Some("wait=20"));
    assert!(said.header("retry-after").is_none());
    assert!(took < Duration::from_secs(8), "{took:?}");
    let again = open.office("causeni").post("k1", &submission_request()).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (StatusCode::OK, Some("true")));
}

#[tokio::test]
async fn a_request_that_waits_gets_the_answer_though_nobody_announced_it() {
    let open = open().await;
    let (said, took) = answered_while_waiting(&open, false).await;
    assert_eq!(said.status, StatusCode::OK);
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn a_request_that_has_waited_in_vain_gets_its_number() {
    let open = open().await;
    let office = open.office("causeni");
    let begun = Instant::now();
    let said = office.send(office.posting("k1", submission_request().to_string()).header("prefer", "wait=1")).await;
    assert_eq!((said.status, said.header("preference-applied")), (StatusCode::ACCEPTED, Some("wait=1")));
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_request_that_waits_does_not_outlive_the_gateway() {
    let open = open().await;
    let office = open.office("causeni");
    let request = office.posting("k1", submission_request().to_string()).header("prefer", "wait=60");
    let waiting = tokio::spawn(async move { office.send(request).await });
    while open.env.journal.list(&Default::default(), 1).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    open.close().await;
    let said = waiting.await.unwrap();
    assert_eq!((said.status, said.header("connection")), (StatusCode::ACCEPTED, Some("close")));
}

#[tokio::test]
async fn an_office_with_too_many_waits_gets_its_number_at_once() {
    let mut env = TestEnvironment::new();
    env.settings.max_waits = 4;
    let open = env.open().await;
    let office = open.office("causeni");
    let patient = tokio::spawn(waiting(office.clone(), "k1", 3));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let said = waiting(office, "k2", 3).await;
    assert_eq!((said.status, said.header("preference-applied")), (StatusCode::ACCEPTED, None));
    assert!(said.header("retry-after").is_some());
    assert_eq!(patient.await.unwrap().header("preference-applied"), Some("wait=3"));
    assert!(open.env.metrics.to_text().contains("\npunte_declined_waits_total 1\n"));
}

async fn waiting(office: OfficeClient, key: &str, seconds: u32) -> Said {
    let request = office.posting(key, submission_request().to_string()).header("prefer", format!("wait={seconds}"));
    office.send(request).await
}

/// A client that has made the connection which all its requests take.
async fn over_one_connection(open: &Open, office: &str) -> OfficeClient {
    let client = open.client(Some(open.identity(office)), &[b"h2"]);
    assert_eq!(client.get("/v1/services").await.status, StatusCode::OK);
    client
}

/// So many submissions of the office have been accepted.
async fn accepted(open: &Open, office: &str, count: u32) {
    let filter = ListFilter { office: Some(office.parse().unwrap()), ..ListFilter::default() };
    while open.env.journal.list(&filter, count).await.unwrap().len() < count as usize {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn together(office: &OfficeClient, count: usize, seconds: u32) -> JoinSet<Said> {
    let waits = (0..count).map(|_| {
        let (office, key) = (office.clone(), SubmissionId::new().to_string());
        async move { waiting(office, &key, seconds).await }
    });
    waits.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_offices_256_waits_at_once_are_all_honoured_over_as_many_connections() {
    let mut env = TestEnvironment::new();
    env.settings.max_connections = 2000;
    let open = env.open().await;
    for said in together(&open.office("causeni"), 256, 5).join_all().await {
        assert_eq!((said.status, said.header("preference-applied")), (StatusCode::ACCEPTED, Some("wait=5")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_office_that_opens_a_thousand_waits_leaves_the_others_theirs() {
    let mut env = TestEnvironment::new();
    (env.settings.max_requests, env.settings.max_memory_bytes) = (4000, 64 << 20);
    env.settings.max_waits = 400;
    let open = env.open().await;
    let mut flood = JoinSet::new();
    for _ in 0..10 {
        let office = over_one_connection(&open, "causeni").await;
        let mut waits = together(&office, 100, 60);
        flood.spawn(async move {
            let mut declined = 0;
            while let Some(said) = waits.join_next().await {
                let said = said.unwrap();
                assert_eq!(said.status, StatusCode::ACCEPTED, "{}", said.text);
                declined += usize::from(said.header("preference-applied").is_none());
            }
            declined
        });
    }
    // A quarter is honoured, until the gateway stops.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60)
        && !open.env.metrics.to_text().contains("\npunte_declined_waits_total 900\n")
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let other = together(&over_one_connection(&open, "shkoder").await, 10, 60);
    accepted(&open, "shkoder", 10).await;
    open.close().await;
    let other = other.join_all().await;
    assert!(other.iter().all(|said| said.header("preference-applied") == Some("wait=60")), "{other:?}");
    assert_eq!(flood.join_all().await.iter().sum::<usize>(), 900);
}

#[tokio::test]
async fn the_callers_trace_is_taken_up_and_a_bad_one_does_no_harm() {
    let open = open().await;
    let office = open.office("causeni");
    let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let said = office.send(office.posting("k1", submission_request().to_string()).header("traceparent", theirs)).await;
    let record = open.env.journal.find(said.id()).await.unwrap().unwrap();
    assert_eq!(record.submission.trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
    for (key, bad) in [("k2", "x"), ("k3", ""), ("k4", "00-00000000000000000000000000000000-0000000000000000-00")] {
        let said = office.send(office.posting(key, submission_request().to_string()).header("traceparent", bad)).await;
        assert_eq!(said.status, StatusCode::ACCEPTED, "{bad}");
        assert!(TraceParent::parse(said.header("traceparent").unwrap()).is_some());
    }
    let twice = office
        .posting("k5", submission_request().to_string())
        .header("traceparent", theirs)
        .header("traceparent", theirs);
    assert!(!office.send(twice).await.header("traceparent").unwrap().contains("0af7651916cd43dd8448eb211c80319c"));
}

#[tokio::test]
async fn what_the_journal_cannot_record_is_not_accepted_and_can_be_sent_again() {
    let open = open().await;
    let office = open.office("causeni");
    let other = rusqlite::Connection::open(open.env.folder.path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let said = office.post("k1", &submission_request()).await;
    assert_eq!((said.status, said.code()), (StatusCode::SERVICE_UNAVAILABLE, "bus.journal.unavailable"));
    assert!(said.header("retry-after").is_some());
    other.execute_batch("ROLLBACK").unwrap();
    let said = office.post("k1", &submission_request()).await;
    assert_eq!((said.status, said.header("idempotent-replayed")), (StatusCode::ACCEPTED, None));
}
