//! Following a submission: reading, listing, streaming, taking back.

use super::environment::{OfficeClient, Open, Said, open, submission_request};
use futures_util::StreamExt;
use http::{Method, StatusCode};
use jiff::Timestamp;
use punte::{
    domain::{Code, Event, Fault, Finding, Stage, StateName},
    journal::Entry,
};
use serde_json::{Value, json};
use std::{collections::HashSet, time::Duration};

async fn delete(office: &OfficeClient, id: impl std::fmt::Display) -> Said {
    office.send(office.request(Method::DELETE, &format!("/v1/submissions/{id}"))).await
}

#[tokio::test]
async fn another_offices_submission_does_not_exist() {
    let open = open().await;
    let id = open.office("causeni").post("k1", &submission_request()).await.id();
    let other = open.office("shkoder");
    for said in [
        other.get(&format!("/v1/submissions/{id}")).await,
        other.get(&format!("/v1/submissions/{id}/events")).await,
        delete(&other, id).await,
    ] {
        assert_eq!((said.status.as_u16(), said.code()), (404, "office.request.not-found"));
    }
    assert_eq!(other.get("/v1/submissions").await.json["submissions"], json!([]));
    assert_eq!(open.office("causeni").get(&format!("/v1/submissions/{id}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_submission_shows_its_timeline_and_its_fault_without_inner_detail() {
    let open = open().await;
    let office = open.office("causeni");
    let id = office.post("k1", &submission_request()).await.id();
    let at = Timestamp::now();
    let lease_until = at + jiff::SignedDuration::from_secs(60);
    let fault = Fault::new(Code::NetworkConnect, Stage::Send, "10.0.0.7:443 refused");
    for event in [
        Event::Published,
        Event::Begun { attempt: 1, lease_until, asks_first: true },
        Event::GivenUp { attempt: 1, fault },
        Event::Discarded { by: "jane-the-operator".into() },
    ] {
        if matches!(event, Event::Discarded { .. }) {
            let said = office.get(&format!("/v1/submissions/{id}")).await;
            assert_eq!(said.json["fault"]["code"], "network.connect");
            assert!(!said.text.contains("10.0.0.7"), "{}", said.text);
        }
        open.env.journal.record(id, Entry::new(event, at)).await.unwrap();
    }
    let said = office.get(&format!("/v1/submissions/{id}")).await;
    let states: Vec<_> = said.json["timeline"].as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
    assert_eq!(states, ["accepted", "queued", "sending", "parked", "cancelled"]);
    assert!(!said.text.contains("jane"), "{}", said.text);
}

#[tokio::test]
async fn what_the_agency_may_have_done_is_told_to_the_office_and_so_is_an_answer_that_nobody_has() {
    let open = open().await;
    let office = open.office("causeni");
    let schema = punte::roles::gateway::openapi::component("Submission").unwrap();
    let at = Timestamp::now();
    let show = async |id| {
        let said = office.get(&format!("/v1/submissions/{id}")).await;
        assert_eq!(schema.faults(&said.json), [], "{}", said.text);
        assert!(!said.text.contains("jane"), "{}", said.text);
        said.json
    };
    let ends = [
        (Event::Discarded { by: "jane".into() }, "cancelled", json!(true), Value::Null),
        (resolved(Finding::Happened { answer: None }), "completed", Value::Null, json!(true)),
        (resolved(Finding::DidNotHappen), "accepted", Value::Null, Value::Null),
    ];
    for (number, (end, state, in_doubt, answer_missing)) in ends.into_iter().enumerate() {
        let id = office.post(&format!("k{number}"), &submission_request()).await.id();
        let record = async |event| open.env.journal.record(id, Entry::new(event, at)).await.unwrap();
        record(Event::Begun { attempt: 1, lease_until: at, asks_first: true }).await;
        assert_eq!(show(id).await["in_doubt"], Value::Null);
        record(Event::OutcomeUnknown { attempt: 1, fault: Fault::new(Code::NetworkReset, Stage::Send, "") }).await;
        let shown = show(id).await;
        assert_eq!((&shown["state"], &shown["in_doubt"]), (&json!("uncertain"), &json!(true)));
        record(end).await;
        let shown = show(id).await;
        assert_eq!(
            (&shown["state"], &shown["in_doubt"], &shown["answer_missing"]),
            (&json!(state), &in_doubt, &answer_missing)
        );
        assert_eq!(shown["answer"], Value::Null);
    }
    let listed = office.get("/v1/submissions?state=cancelled").await;
    assert_eq!(listed.json["submissions"][0]["in_doubt"], true);
}

fn resolved(finding: Finding) -> Event {
    Event::Resolved { by: "jane".into(), seen: 1, finding }
}

#[tokio::test]
async fn a_list_comes_in_pages_newest_first_and_can_be_narrowed() {
    let open = open().await;
    let office = open.office("causeni");
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.insert(0, office.post(&format!("k{number}"), &submission_request()).await.id().to_string());
    }
    delete(&office, &ids[2]).await;
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = office.get(&format!("/v1/submissions?limit=2{cursor}")).await.json;
        let items = page["submissions"].as_array().unwrap();
        assert!(items.len() <= 2);
        found.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(found, ids);
    let count = async |query: &str| {
        let said = office.get(&format!("/v1/submissions?{query}")).await;
        said.json["submissions"].as_array().unwrap().len()
    };
    assert_eq!(count("state=cancelled").await, 1);
    assert_eq!(count("state=accepted&service=ledger-entry").await, 4);
    assert_eq!(count("service=person-lookup").await, 0);
    assert_eq!(count("since=2999-01-01T00:00:00Z").await, 0);
    assert_eq!(count("since=2020-01-01T00:00:00Z").await, 5);
}

#[tokio::test]
async fn a_submission_can_be_taken_back_until_it_is_sent() {
    let open = open().await;
    let office = open.office("causeni");
    let first = office.post("k1", &submission_request()).await.id();
    let mut heard = open.env.broker.announcements();
    for _ in 0..2 {
        let said = delete(&office, first).await;
        assert_eq!((said.status, &said.json["state"]), (StatusCode::OK, &json!("cancelled")));
    }
    assert_eq!(heard.recv().await.unwrap().state, StateName::Cancelled);
    let second = office.post("k2", &submission_request()).await.id();
    open.settle(second, json!({"number": "L"})).await;
    let said = delete(&office, second).await;
    assert_eq!((said.status.as_u16(), said.code()), (409, "office.submission.not-cancellable"));
}

/// The stream's events until it ends.
async fn streamed(office: &OfficeClient, path: &str, last: Option<&str>) -> Vec<(String, Value)> {
    let mut request = office.request(Method::GET, path);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
    }
    let events = text.split("\n\n").filter(|event| event.starts_with("id: "));
    let parsed = events.map(|event| {
        let mut lines = event.lines();
        let id = lines.next().unwrap().strip_prefix("id: ").unwrap().to_owned();
        assert_eq!(lines.next(), Some("event: state"));
        let data = lines.next().unwrap().strip_prefix("data: ").unwrap();
        (id, serde_json::from_str(data).unwrap())
    });
    parsed.collect()
}

async fn followed(open: &Open, is_announced: bool) {
    let office = open.office("causeni");
    let id = office.post("k1", &submission_request()).await.id();
    let path = format!("/v1/submissions/{id}/events");
    let follower = {
        let (office, path) = (office.clone(), path.clone());
        tokio::spawn(async move { streamed(&office, &path, None).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    open.settle(id, json!({"number": "L"})).await;
    if is_announced {
        open.announce(id, StateName::Completed).await;
    }
    let events = tokio::time::timeout(Duration::from_secs(8), follower).await.unwrap().unwrap();
    let drawn: Vec<_> = events.iter().map(|(id, data)| format!("{id} {}", data["state"].as_str().unwrap())).collect();
    assert_eq!(drawn, ["1 accepted", "2 sending", "3 completed"]);
    let rest = streamed(&office, &path, Some("2")).await;
    assert_eq!((rest.len(), rest[0].0.as_str()), (1, "3"));
    let nothing_new = office.request(Method::GET, &path).header("last-event-id", "3");
    let said = office.send(nothing_new).await;
    assert_eq!((said.status, said.header("content-length")), (StatusCode::NO_CONTENT, None));
    let nonsense = office.request(Method::GET, &path).header("last-event-id", "x");
    assert_eq!(office.send(nonsense).await.code(), "office.request.header");
}

#[tokio::test]
async fn changes_are_streamed_until_the_submission_is_settled() {
    followed(&open().await, true).await;
}

#[tokio::test]
async fn changes_are_streamed_though_nobody_announces_them() {
    followed(&open().await, false).await;
}

#[tokio::test]
async fn a_stream_ends_when_the_gateway_is_stopped() {
    let open = open().await;
    let office = open.office("causeni");
    let id = office.post("k1", &submission_request()).await.id();
    let path = format!("/v1/submissions/{id}/events");
    let follower = tokio::spawn(async move { streamed(&office, &path, None).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    open.close().await;
    assert_eq!(follower.await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_catalogue_shows_what_the_office_may_use_in_its_language() {
    let open = open().await;
    let office = open.office("causeni");
    let all = office.get("/v1/services").await;
    let names: HashSet<_> = all.json["services"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, HashSet::from([json!("ledger-entry")]));
    let request = office.request(Method::GET, "/v1/services/ledger-entry").header("accept-language", "mk, en;q=0.5");
    let said = office.send(request).await;
    assert_eq!((&said.json["title"], &said.json["language"]), (&json!("Запис"), &json!("mk")));
    assert_eq!((&said.json["effect"], &said.json["deadline_secs"]), (&json!("idempotent"), &json!(3600)));
    assert_eq!(said.json["request_schema"]["required"], json!(["copies"]));
    assert_eq!(said.json["subject"], json!({"personal-number": "[0-9]{7}(canary)?"}));
}

#[tokio::test]
async fn a_name_in_an_address_may_be_percent_encoded() {
    let open = open().await;
    let encoded = open.office("causeni").get("/v1/services/ledger%2Dentry").await;
    assert_eq!((encoded.status, &encoded.json["name"]), (StatusCode::OK, &json!("ledger-entry")));
}

/// Over HTTP/1.1 it is read byte for byte elsewhere.
#[tokio::test]
async fn head_is_answered_as_get_is_without_a_body_over_http_2_too() {
    let open = open().await;
    let office = open.client(Some(open.identity("causeni")), &[b"h2"]);
    let answer = |method| office.request(method, "/v1/services/ledger-entry").send();
    let (get, head) = (answer(Method::GET).await.unwrap(), answer(Method::HEAD).await.unwrap());
    assert_eq!((head.status(), head.version()), (StatusCode::OK, http::Version::HTTP_2));
    assert_eq!(head.headers()["content-type"], get.headers()["content-type"]);
    assert_eq!(head.text().await.unwrap(), "");
}
