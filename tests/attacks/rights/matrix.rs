//! Every operation of the API's document, asked by one office with another's things: it gets exactly what it would get for
//! things that do not exist, and nothing of the other's changes.

use crate::front::environment::{OfficeClient, Open, Said, TestEnvironment, open, submission_request};
use http::Method;
use punte::{domain::SubmissionId, roles::gateway::openapi::DOCUMENT};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// What there is of one office, or would be if it existed.
#[derive(Clone)]
struct Things {
    submission: String,
    waiting: String,
    attachment: String,
    key: String,
    cursor: String,
}

/// One way to use somebody's things.
struct Row {
    operation: &'static str,
    what: &'static str,
    ask: fn(&OfficeClient, &Things) -> reqwest::RequestBuilder,
}

fn get(client: &OfficeClient, path: &str) -> reqwest::RequestBuilder {
    client.request(Method::GET, path)
}

/// A new operation of the document has no row, and the test says so.
fn rows() -> Vec<Row> {
    let row = |operation, what, ask| Row { operation, what, ask };
    vec![
        row("getDocument", "the document", |it, _| get(it, "/v1/openapi.json")),
        row("listServices", "the catalogue", |it, _| get(it, "/v1/services")),
        row("getService", "a service that only the other may use", |it, _| get(it, "/v1/services/person-lookup")),
        row("getService", "a submission's id for a name", |it, has| {
            get(it, &format!("/v1/services/{}", has.submission))
        }),
        row("getSubmission", "id", |it, has| get(it, &format!("/v1/submissions/{}", has.submission))),
        row("getSubmission", "id of a waiting one", |it, has| get(it, &format!("/v1/submissions/{}", has.waiting))),
        row("getSubmission", "id in upper case", |it, has| {
            get(it, &format!("/v1/submissions/{}", has.submission.to_uppercase()))
        }),
        row("getSubmission", "id in braces", |it, has| get(it, &format!("/v1/submissions/%7B{}%7D", has.submission))),
        row("getSubmission", "id with a query", |it, has| {
            get(it, &format!("/v1/submissions/{}?office=causeni", has.submission))
        }),
        row("getSubmission", "HEAD", |it, has| {
            it.request(Method::HEAD, &format!("/v1/submissions/{}", has.submission))
        }),
        row("getSubmission", "an attachment's id", |it, has| get(it, &format!("/v1/submissions/{}", has.attachment))),
        row("getSubmission", "names in headers", |it, has| {
            let request = get(it, &format!("/v1/submissions/{}", has.submission));
            request.header("x-office", "causeni").header("x-forwarded-client-cert", "Subject=\"CN=causeni\"")
        }),
        row("cancelSubmission", "id", |it, has| {
            it.request(Method::DELETE, &format!("/v1/submissions/{}", has.submission))
        }),
        row("cancelSubmission", "id of a waiting one", |it, has| {
            it.request(Method::DELETE, &format!("/v1/submissions/{}", has.waiting))
        }),
        row("followSubmission", "id", |it, has| get(it, &format!("/v1/submissions/{}/events", has.submission))),
        row("followSubmission", "id of a waiting one", |it, has| {
            get(it, &format!("/v1/submissions/{}/events", has.waiting))
        }),
        row("followSubmission", "the last event's id", |it, has| {
            get(it, &format!("/v1/submissions/{}/events", has.submission)).header("last-event-id", "1")
        }),
        row("listSubmissions", "all", |it, _| get(it, "/v1/submissions")),
        row("listSubmissions", "cursor", |it, has| get(it, &format!("/v1/submissions?cursor={}", has.cursor))),
        row("listSubmissions", "a cursor that is an id", |it, has| {
            get(it, &format!("/v1/submissions?cursor={}", has.submission))
        }),
        row("listSubmissions", "an office's name", |it, _| get(it, "/v1/submissions?office=causeni")),
        row("listSubmissions", "service", |it, _| get(it, "/v1/submissions?service=person-lookup")),
        row("listSubmissions", "state", |it, _| get(it, "/v1/submissions?state=completed")),
        row("listSubmissions", "since", |it, _| get(it, "/v1/submissions?since=2020-01-01T00:00:00Z&limit=200")),
        row("submit", "attachment", |it, has| {
            let mut request = submission_request();
            request["attachments"] = json!([has.attachment]);
            it.posting("own-key", request.to_string())
        }),
        row("submit", "a submission for an attachment", |it, has| {
            let mut request = submission_request();
            request["attachments"] = json!([has.submission]);
            it.posting("own-key", request.to_string())
        }),
        row("submit", "key with another body that is wrong", |it, has| it.posting(&has.key, "{}")),
        row("submit", "id in the body", |it, has| {
            let mut request = submission_request();
            request["id"] = json!(has.submission);
            request["office"] = json!("causeni");
            it.posting("own-key", request.to_string())
        }),
        row("upload", "id for a file's name", |it, has| {
            let request = it.request(Method::POST, "/v1/attachments").header("content-type", "text/plain");
            request.header("content-disposition", format!("attachment; filename=../{}", has.attachment)).body("x")
        }),
    ]
}

/// One submission that has ended with an answer and a file, and one that waits.
async fn things_of(open: &Open, office: &OfficeClient) -> Things {
    let file = office.request(Method::POST, "/v1/attachments").header("content-type", "application/xml").body("<a/>");
    let attachment = office.send(file).await.json["id"].as_str().unwrap().to_owned();
    let mut request = submission_request();
    request["attachments"] = json!([attachment]);
    let submission = office.post("the-key", &request).await.id();
    open.settle(submission, json!({"number": "L-canary"})).await;
    let waiting = office.post("another-key", &request).await.id();
    let page = office.get("/v1/submissions?limit=1").await;
    let cursor = page.json["next"].as_str().unwrap().to_owned();
    let text = |id: SubmissionId| id.to_string();
    Things { submission: text(submission), waiting: text(waiting), attachment, key: "the-key".into(), cursor }
}

/// The same kinds of names, of nothing.
fn nothing() -> Things {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let (submission, waiting) = (SubmissionId::new(), SubmissionId::new());
    let cursor = URL_SAFE_NO_PAD.encode([&[1_u8][..], submission.as_uuid().as_bytes()].concat());
    Things {
        submission: submission.to_string(),
        waiting: waiting.to_string(),
        attachment: uuid::Uuid::now_v7().to_string(),
        key: "no-such-key".into(),
        cursor,
    }
}

/// All of an answer but what is new with every request.
fn essence(said: &Said) -> (u16, Vec<(String, String)>, Value) {
    let fields = said.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "date" | "traceparent"));
    let mut fields: Vec<_> =
        fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    fields.sort();
    let mut json = said.json.clone();
    if let Some(problem) = json.as_object_mut() {
        problem.remove("trace_id");
    }
    (said.status.as_u16(), fields, json)
}

async fn ask(client: &OfficeClient, row: &Row, things: &Things) -> Said {
    let request = (row.ask)(client, things);
    // A HEAD has no body to be held against the document.
    if row.what == "HEAD" {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        return Said { status, headers, json: Value::Null, text: String::new() };
    }
    client.send(request).await
}

async fn everything_of(office: &OfficeClient, things: &Things) -> Vec<Value> {
    let mut seen = vec![office.get("/v1/submissions").await.json];
    for id in [&things.submission, &things.waiting] {
        seen.push(office.get(&format!("/v1/submissions/{id}")).await.json);
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn another_offices_things_are_as_if_they_did_not_exist() {
    let open = open().await;
    let (one, other) = (open.office("causeni"), open.office("shkoder"));
    let things = things_of(&open, &one).await;
    let before = everything_of(&one, &things).await;
    assert!(before[1].to_string().contains("L-canary"));
    let rows = rows();
    for row in &rows {
        let (theirs, none) = (ask(&other, row, &things).await, ask(&other, row, &nothing()).await);
        assert_eq!(essence(&theirs), essence(&none), "{} by {}", row.operation, row.what);
        let told = format!("{} {:?}", theirs.text, theirs.headers);
        for thing in [&things.submission, &things.waiting, &things.attachment, &"L-canary".to_owned()] {
            assert!(!told.contains(thing.as_str()), "{} by {}: {told}", row.operation, row.what);
        }
        assert_eq!(everything_of(&one, &things).await, before, "{} by {} changed something", row.operation, row.what);
    }
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    let documented: BTreeSet<_> = paths
        .flat_map(|path| path.as_object().unwrap().values().map(|operation| operation["operationId"].as_str().unwrap()))
        .collect();
    let tried: BTreeSet<_> = rows.iter().map(|row| row.operation).collect();
    assert_eq!(tried, documented, "each operation needs a row");
    let missing = untried(&document, &rows, &other, &things);
    assert!(missing.is_empty(), "each parameter needs a row: {missing:?}");
}

/// Parameters that name nothing of anybody's.
const NAMELESS: [&str; 4] = ["traceparent", "Accept-Language", "Prefer", "Content-Digest"];

/// The parameters of the document that no row gives. Those in a path must have been somebody's submission.
fn untried(document: &Value, rows: &[Row], client: &OfficeClient, things: &Things) -> Vec<String> {
    let asked: Vec<_> = rows.iter().map(|row| (row.operation, (row.ask)(client, things).build().unwrap())).collect();
    let mut missing = Vec::new();
    let paths = document["paths"].as_object().unwrap().values();
    for operation in paths.flat_map(|path| path.as_object().unwrap().values()) {
        let id = operation["operationId"].as_str().unwrap();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let reference = parameter["$ref"].as_str();
            let parameter = reference.map_or(parameter, |reference| document.pointer(&reference[1..]).unwrap());
            let (place, name) = (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap());
            let is_given = |request: &reqwest::Request| match place {
                "path" => request.url().path().contains(&things.submission),
                "query" => request.url().query_pairs().any(|(key, _)| key == name),
                _ => request.headers().contains_key(name),
            };
            if !NAMELESS.contains(&name) && !asked.iter().any(|(of, request)| *of == id && is_given(request)) {
                missing.push(format!("{name} of {id}"));
            }
        }
    }
    missing
}

/// The office itself gets something else in most rows: the matrix could fail.
#[tokio::test(flavor = "multi_thread")]
async fn an_offices_own_things_are_there() {
    let open = open().await;
    let one = open.office("causeni");
    let things = things_of(&open, &one).await;
    let mut different = 0;
    for row in rows() {
        different +=
            usize::from(essence(&ask(&one, &row, &things).await) != essence(&ask(&one, &row, &nothing()).await));
    }
    assert!(different >= 10, "only {different}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_offices_key_is_a_new_key() {
    let open = open().await;
    let (one, other) = (open.office("causeni"), open.office("shkoder"));
    let first = one.post("shared", &submission_request()).await;
    let mut changed = submission_request();
    changed["data"]["copies"] = json!(7);
    // Neither the other's submission for the same body, nor a conflict for another body.
    let second = other.post("shared", &changed).await;
    assert_eq!(second.status, 202, "{}", second.text);
    assert!(second.id() != first.id() && second.header("idempotent-replayed").is_none());
    let third = open.office("causeni").post("shared", &submission_request()).await;
    assert_eq!((third.id(), third.header("idempotent-replayed")), (first.id(), Some("true")));
}

/// Pages follow each other over both offices' submissions, and each sees its own.
#[tokio::test(flavor = "multi_thread")]
async fn pages_never_show_anothers_submissions() {
    let open = open().await;
    let offices = [open.office("causeni"), open.office("shkoder")];
    let mut own = [BTreeSet::new(), BTreeSet::new()];
    for number in 0..12 {
        own[number % 2]
            .insert(offices[number % 2].post(&format!("k{number}"), &submission_request()).await.id().to_string());
    }
    for (office, own) in offices.iter().zip(&own) {
        let (mut seen, mut path) = (BTreeSet::new(), "/v1/submissions?limit=1".to_owned());
        loop {
            let page = office.get(&path).await.json;
            seen.extend(page["submissions"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/v1/submissions?limit=1&cursor={next}");
        }
        assert_eq!(seen, *own);
    }
}

/// The time of an answer tells hardly more than the answer does.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_refusal_does_not_tell_whether_a_submission_exists() {
    let open = TestEnvironment::new().open().await;
    let (one, other) = (open.office("causeni"), open.office("shkoder"));
    let things = things_of(&open, &one).await;
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..400 {
        for (which, id) in [&things.submission, &nothing().submission].into_iter().enumerate() {
            let begun = Instant::now();
            let request = get(&other, &format!("/v1/submissions/{id}"));
            assert!(!request.send().await.unwrap().bytes().await.unwrap().is_empty());
            took[which].push(begun.elapsed());
        }
    }
    let median = |took: &mut Vec<Duration>| {
        took.sort();
        took[took.len() / 2]
    };
    let (theirs, none) = (median(&mut took[0]), median(&mut took[1]));
    println!("another's submission: {theirs:?}, none: {none:?} (medians of 400)");
    let difference = theirs.abs_diff(none);
    assert!(difference < none / 2 || difference < Duration::from_micros(200), "{theirs:?} {none:?}");
}
