//! Bad input: each kind has its code, its place, and no echo of what was sent.

use super::environment::{CANARY, TestEnvironment, open, submission_request};
use http::{Method, StatusCode};
use serde_json::json;
use std::{
    io,
    sync::{Arc, Mutex},
};

#[tokio::test]
async fn every_bad_body_has_its_code_and_place() {
    let open = open().await;
    let office = open.office("causeni");
    let deep = format!("{{\"data\":{}1{}}}", "[".repeat(100), "]".repeat(100));
    let lossy = submission_request().to_string().replace("\"copies\":2", "\"copies\":1.00000000000000000001");
    let twice = submission_request().to_string().replace("\"copies\":2", "\"copies\":2,\"copies\":3");
    let huge = format!("{{\"x\":\"{}\"}}", "x".repeat(70_000));
    for (body, status, code, pointer) in [
        ("".into(), 400, "office.request.invalid-json", ""),
        ("{\"service\":".into(), 400, "office.request.invalid-json", ""),
        (lossy, 400, "office.request.invalid-json", "/data/copies"),
        (deep, 400, "office.request.too-deep", &format!("/data{}", "/0".repeat(63))),
        (twice, 400, "office.request.duplicate-key", "/data/copies"),
        ("[]".into(), 422, "office.request.schema", ""),
        ("\"x\"".into(), 422, "office.request.schema", ""),
    ] {
        let said = office.send(office.posting("k", body.clone())).await;
        assert_eq!((said.status.as_u16(), said.code(), said.pointers()), (status, code, vec![pointer]), "{body}");
    }
    let said = office.send(office.posting("k", huge)).await;
    assert_eq!((said.status.as_u16(), said.code()), (413, "office.request.too-large"));
    let said = office.send(office.posting("k", vec![b'{', 0xff, b'}'])).await;
    assert_eq!((said.status.as_u16(), said.code()), (400, "office.request.not-utf8"));
    assert!(open.env.journal.list(&Default::default(), 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn all_faults_of_a_body_are_told_together_and_without_its_values() {
    let open = open().await;
    let body = json!({
        "service": "ledger-entry",
        "context": {"clerk": "", "entity": 7, "legal_basis": "x".repeat(501)},
        "subject": {"scheme": "personal-number", "id": CANARY, "name": CANARY},
        "data": {"copies": 0, "note": CANARY.repeat(3)},
        "priority": CANARY,
        "expires_at": CANARY,
        "attachments": [CANARY],
        "surplus": CANARY
    });
    let said = open.office("causeni").post("k", &body).await;
    assert_eq!((said.status.as_u16(), said.code()), (422, "office.request.schema"));
    // A member that is not known is named by its own place.
    let expected = [
        "/attachments/0",
        "/context",
        "/context/clerk",
        "/context/entity",
        "/context/legal_basis",
        "/data/copies",
        "/data/note",
        "/expires_at",
        "/priority",
        "/subject/name",
        "/surplus",
    ];
    assert_eq!(said.pointers(), expected);
    assert!(!said.text.contains(CANARY), "{}", said.text);
}

#[tokio::test]
async fn what_only_the_catalogue_the_clock_and_the_attachments_know_is_told_together_too() {
    let open = open().await;
    let office = open.office("causeni");
    let mut request = submission_request();
    request["attachments"] = json!(["01990000-0000-7000-8000-000000000011"]);
    let said = office.post("k", &request).await;
    assert_eq!((said.code(), said.pointers()), ("office.attachment.unknown", vec!["/attachments/0"]));
    request["expires_at"] = "2020-01-01T00:00:00Z".into();
    request["service"] = "person-lookup".into();
    let said = office.post("k", &request).await;
    assert_eq!((said.status.as_u16(), said.code()), (422, "office.request.schema"));
    assert_eq!(said.pointers(), ["/attachments/0", "/expires_at", "/service"]);
    request["attachments"] = json!([]);
    request["expires_at"] = "2999-01-01T00:00:00Z".into();
    let said = office.post("k", &request).await;
    assert_eq!((said.code(), said.pointers()), ("office.service.unknown", vec!["/service"]));
}

/// Parked, they would fill the operators' list: the agency's contract refuses them, and nobody there could mend them.
#[tokio::test]
async fn a_subject_that_the_service_does_not_take_is_refused_at_its_place() {
    let open = open().await;
    let office = open.office("causeni");
    for (scheme, id, pointer) in [
        ("personal-number", "x-canary", "/subject/id"),
        ("personal-number", "2009999 ", "/subject/id"),
        ("personal-number", "2009999\n", "/subject/id"),
        ("personal-number", "20099991", "/subject/id"),
        ("personal-number", "٢٠٠٩٩٩٩", "/subject/id"),
        ("idnp", "2009999", "/subject/scheme"),
        ("Personal-number", "2009999", "/subject/scheme"),
    ] {
        let mut request = submission_request();
        request["subject"] = json!({"scheme": scheme, "id": id});
        let said = office.post("k", &request).await;
        assert_eq!((said.status.as_u16(), said.code()), (422, "office.request.schema"), "{id:?}: {}", said.text);
        assert_eq!(said.pointers(), [pointer]);
        assert!(!said.text.contains(id), "{}", said.text);
        // Beside all other faults.
        request["surplus"] = json!(1);
        request["data"]["copies"] = json!(0);
        let mut expected = ["/data/copies", pointer, "/surplus"];
        expected.sort_unstable();
        assert_eq!(office.post("k", &request).await.pointers(), expected);
    }
    let mut request = submission_request();
    request["subject"]["id"] = json!("2009999");
    assert_eq!(office.post("fine", &request).await.status, StatusCode::ACCEPTED);
    assert_eq!(open.env.journal.list(&Default::default(), 10).await.unwrap().len(), 1);
}

/// JSON Schema counts them as integers; an agency's contract does not, and to write them otherwise would change them.
#[tokio::test]
async fn an_integer_that_is_not_written_in_digits_alone_is_refused_in_words() {
    let open = open().await;
    let office = open.office("causeni");
    for number in ["1.0", "1.00", "1e0", "1E+0", "10e-1", "2e2"] {
        let body = submission_request().to_string().replace("\"copies\":2", &format!("\"copies\":{number}"));
        let said = office.send(office.posting(number, body)).await;
        assert_eq!((said.status.as_u16(), said.code()), (422, "office.request.schema"), "{number}: {}", said.text);
        assert!(said.pointers().contains(&"/data/copies") && said.text.contains("digits alone"), "{}", said.text);
    }
    assert!(open.env.journal.list(&Default::default(), 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_date_that_cannot_exist_is_a_fault_and_no_crash() {
    let open = open().await;
    let mut request = submission_request();
    // Each would be in the future.
    for bad in
        ["2099-02-30T00:00:00Z", "2099-13-01T00:00:00Z", "2099-01-01", "2099-01-01T24:00:01Z", "2099-01-01T00:00:60Z"]
    {
        request["expires_at"] = bad.into();
        let said = open.office("causeni").post(bad, &request).await;
        assert!(said.status.is_client_error(), "{bad}: {}", said.text);
        assert_eq!(said.pointers(), ["/expires_at"], "{bad}: {}", said.text);
    }
    // "Never", as many programs write it, is later than our calendar and still a date.
    request["expires_at"] = "9999-12-31T23:59:59Z".into();
    assert_eq!(open.office("causeni").post("never", &request).await.status, StatusCode::ACCEPTED);
    let said = open.office("causeni").get("/v1/submissions?since=9999-12-31T23:59:59Z").await;
    assert_eq!(said.status, StatusCode::OK, "{}", said.text);
}

#[tokio::test]
async fn headers_that_are_missing_or_wrong_are_told() {
    let open = open().await;
    let office = open.office("causeni");
    let post = || office.request(Method::POST, "/v1/submissions");
    let json = |request: reqwest::RequestBuilder| request.header("content-type", "application/json");
    let said = office.send(json(post()).body(submission_request().to_string())).await;
    assert_eq!((said.status.as_u16(), said.code()), (400, "office.idempotency-key.missing"));
    let said = office.send(json(post()).header("idempotency-key", "a,b").body(submission_request().to_string())).await;
    assert_eq!((said.status.as_u16(), said.code()), (400, "office.idempotency-key.missing"));
    assert!(said.text.contains("one key"), "{}", said.text);
    let said = office.send(post().header("idempotency-key", "k").body(submission_request().to_string())).await;
    assert_eq!((said.status.as_u16(), said.code()), (415, "office.request.media-type"));
    assert!(said.text.contains("Content-Type") && said.text.contains("is missing"), "{}", said.text);
    let said = office.send(post().header("idempotency-key", "k").header("content-type", "").body("{}")).await;
    assert!(said.status.as_u16() == 415 && said.text.contains("is missing"), "{}", said.text);
    let packed = json(post()).header("idempotency-key", "k").header("content-encoding", "gzip").body("x");
    assert_eq!(office.send(packed).await.code(), "office.request.media-type");
}

#[tokio::test]
async fn an_address_or_method_that_is_not_there_is_a_problem() {
    let open = open().await;
    let office = open.office("causeni");
    let said = office.get("/v1/nothing").await;
    assert_eq!((said.status.as_u16(), said.code()), (404, "office.request.not-found"));
    let said = office.send(office.request(Method::PUT, "/v1/submissions")).await;
    assert_eq!((said.status.as_u16(), said.code()), (405, "office.request.method"));
    assert_eq!(said.header("allow"), Some("POST, GET"));
    // The router's own words for a path that is no text are not shown.
    for path in [
        "/v1/submissions/%ff",
        "/v1/services/%c3%28",
        "/v1/submissions/x",
        "/v1/submissions/01990000-0000-7000-8000-000000000011",
        "/v1/services/nothing",
    ] {
        assert_eq!(office.get(path).await.code(), "office.request.not-found", "{path}");
    }
    for query in ["state=done", "limit=0", "cursor=x", "since=x", "order=up", "state=parked&state=parked"] {
        let said = office.get(&format!("/v1/submissions?{query}")).await;
        assert_eq!((said.status.as_u16(), said.code()), (400, "office.request.parameter"), "{query}");
    }
    let said = office.get("/v1/submissions?state=failed").await;
    let told = said.json["errors"][0]["problem"].as_str().unwrap();
    assert!(told.contains("is no state; there are accepted, queued, "), "{told}");
}

#[tokio::test]
async fn an_office_that_asks_too_often_is_held_back_and_others_are_not() {
    let mut env = TestEnvironment::new();
    env.offices[0].office.requests_per_minute = 3;
    let open = env.open().await;
    let office = open.office("causeni");
    for _ in 0..3 {
        assert_eq!(office.get("/v1/services").await.status, StatusCode::OK);
    }
    let said = office.get("/v1/services").await;
    assert_eq!((said.status.as_u16(), said.code()), (429, "office.rate-limited"));
    let wait: u64 = said.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(open.office("shkoder").get("/v1/services").await.status, StatusCode::OK);
}

/// What is logged while a test runs.
#[derive(Clone, Default)]
pub struct Lines(pub Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_personal_number_is_in_no_log_line_no_metric_and_no_problem() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    // With one subscriber alone, a line that another test's thread reaches first would be taken for unwanted for good.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let open = open().await;
    let office = open.office("causeni");
    let id = office.post("k1", &submission_request()).await.id();
    let mut other = submission_request();
    other["data"]["note"] = CANARY.repeat(2).into();
    let mut told = vec![office.post("k1", &other).await, office.post("k2", &other).await];
    told.push(office.send(office.posting("k3", format!("{{\"{CANARY}\":{CANARY}}}"))).await);
    told.push(office.get(&format!("/v1/submissions?state={CANARY}")).await);
    told.push(office.get(&format!("/v1/submissions/{CANARY}")).await);
    assert!(told.iter().all(|said| said.status.is_client_error() && !said.text.contains(CANARY)), "{told:?}");
    office.send(office.request(Method::DELETE, &format!("/v1/submissions/{id}"))).await;
    let env = open.close().await;
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    // What the client's and TLS libraries say at the finest level is theirs; ours is what begins with our name.
    let ours: Vec<_> = log.lines().filter(|line| line.contains("punte::")).collect();
    assert!(ours.iter().any(|line| line.contains("accepted")), "{log}");
    assert!(!ours.iter().any(|line| line.contains(CANARY)), "{ours:#?}");
    assert!(env.metrics.to_text().contains("office.request.schema"));
    assert!(!env.metrics.to_text().contains(CANARY));
}

/// Fails as a fault of ours would, when it is told to.
struct BrokenClock(std::sync::atomic::AtomicBool);

impl punte::domain::Clock for BrokenClock {
    fn now(&self) -> jiff::Timestamp {
        assert!(!self.0.load(std::sync::atomic::Ordering::SeqCst), "the clock is broken");
        jiff::Timestamp::now()
    }
}

#[tokio::test]
async fn a_fault_of_ours_ends_one_request_and_not_the_gateway() {
    let mut env = TestEnvironment::new();
    let clock = Arc::new(BrokenClock(false.into()));
    env.clock = clock.clone();
    let open = env.open().await;
    let office = open.client(Some(open.identity("causeni")), &[b"h2"]);
    assert_eq!(office.get("/v1/services").await.status, StatusCode::OK);
    clock.0.store(true, std::sync::atomic::Ordering::SeqCst);
    let said = office.post("k1", &submission_request()).await;
    assert_eq!((said.status.as_u16(), said.code()), (500, "bus.internal"));
    assert!(!said.text.contains("clock"));
    clock.0.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(office.post("k1", &submission_request()).await.status, StatusCode::ACCEPTED);
}

/// Parked, they would fill the operators' list, and nobody could mend them.
#[tokio::test]
async fn texts_that_no_message_can_carry_are_found_at_the_door() {
    let open = open().await;
    let office = open.office("causeni");
    for (place, pointer) in [("note", "/data/note"), ("reason", "/context/reason"), ("id", "/subject/id")] {
        for character in ['\u{1}', '\u{b}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
            let mut request = submission_request();
            let text = json!(format!("a{character}b"));
            match place {
                "note" => request["data"]["note"] = text,
                "reason" => request["context"]["reason"] = text,
                _ => request["subject"]["id"] = text,
            }
            let said = office.post(&format!("{place}-{}", u32::from(character)), &request).await;
            assert_eq!((said.status.as_u16(), said.code()), (422, "office.request.character"), "{}", said.text);
            assert_eq!(said.pointers(), [pointer]);
        }
    }
    let mut request = submission_request();
    request["data"]["note"] = json!("ă\tб\n\u{1F600}");
    assert_eq!(office.post("fine", &request).await.status.as_u16(), 202);
    let records = open.env.journal.list(&Default::default(), 10).await.unwrap();
    assert_eq!(records.len(), 1);
}

/// A stream that is reset at once takes the answer with it: curl 7.88 says "stream error" then, and nobody learns why.
#[tokio::test(flavor = "multi_thread")]
async fn curl_hears_over_either_version_of_http_why_a_body_is_not_taken() {
    let open = open().await;
    let folder = tempfile::tempdir().unwrap();
    // More than an address takes, and more than is thrown away of a body.
    let sizes = [3_000_000, 40_000_000].map(|size| {
        let file = folder.path().join(size.to_string());
        std::fs::write(&file, vec![b'x'; size]).unwrap();
        file
    });
    let pki = &open.env.pki;
    let (ca, certificate, key) = (pki.gateway("server-ca.pem"), pki.office("causeni.pem"), pki.office("causeni.key"));
    let address = format!("https://localhost:{}", open.address.port());
    // With and without a word of ours before the body, which curl waits for in HTTP/1.1 if it is told nothing else.
    for (version, expect) in [("--http2", "x: y"), ("--http1.1", "x: y"), ("--http1.1", "expect:")] {
        let rows = [
            ("submissions", "application/json", "413"),
            ("attachments", "application/pdf", "413"),
            ("attachments", "text/html", "415"),
        ];
        for ((path, media_type, status), file) in rows.into_iter().flat_map(|row| sizes.iter().map(move |it| (row, it)))
        {
            let mut curl = std::process::Command::new("curl");
            curl.args(["-sS", version, "-o", "/dev/null", "-w", "%{http_code}", "-H", "idempotency-key: k"]);
            curl.arg("--cacert").arg(&ca).arg("--cert").arg(&certificate).arg("--key").arg(&key);
            curl.args(["-H", expect, "-H", &format!("content-type: {media_type}")]);
            curl.arg("--data-binary").arg(format!("@{}", file.display())).arg(format!("{address}/v1/{path}"));
            let said = tokio::task::spawn_blocking(move || curl.output().unwrap()).await.unwrap();
            let told = String::from_utf8_lossy(&said.stderr);
            assert_eq!(
                String::from_utf8_lossy(&said.stdout),
                status,
                "{version} {expect} {path} {media_type} {}: {told}",
                file.display()
            );
        }
    }
}
