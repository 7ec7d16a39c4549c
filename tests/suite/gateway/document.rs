//! The API's document and the API itself say the same.

use super::environment::{open, submission_request};
use http::{Method, StatusCode};
use punte::{
    catalogue::Schema,
    domain::Code,
    http_server::status_of,
    roles::gateway::{openapi::DOCUMENT, routes::ROUTES},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

#[test]
fn every_route_is_documented_and_every_documented_operation_exists() {
    let document = document();
    let documented: BTreeSet<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| format!("{method} {path}")))
        .collect();
    let real: BTreeSet<_> =
        ROUTES.iter().map(|route| format!("{} {}", route.method.as_str().to_lowercase(), route.path)).collect();
    assert_eq!(documented, real);
}

#[test]
fn every_reference_in_the_document_leads_somewhere_and_every_schema_compiles() {
    let document = document();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        let schema = json!({"$ref": format!("#/components/schemas/{name}"), "components": document["components"]});
        assert!(Schema::compile(schema).is_ok(), "{name}");
    }
}

/// Redocly's recommended rules and Spectral's own, warnings included: what generators of clients stumble over.
#[test]
fn the_linters_of_others_have_nothing_to_say_about_the_document() {
    let lint = std::env::var("PUNTE_TEST_OPENAPI_LINT").expect("PUNTE_TEST_OPENAPI_LINT is not set: run tests/run");
    let folder = tempfile::tempdir().unwrap();
    let linted = |document: &str| {
        let file = folder.path().join("openapi.json");
        std::fs::write(&file, document).unwrap();
        std::process::Command::new("node").arg(&lint).arg(&file).output().unwrap()
    };
    let told = linted(DOCUMENT);
    assert!(
        told.status.success(),
        "{}{}",
        String::from_utf8_lossy(&told.stdout),
        String::from_utf8_lossy(&told.stderr)
    );
    // They do look: a document without servers is found by both.
    let mut broken = document();
    broken.as_object_mut().unwrap().remove("servers");
    let told = linted(&broken.to_string());
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(!told.status.success() && text.contains("no-empty-servers") && text.contains("oas3-api-servers"), "{text}");
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            references.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

#[test]
fn every_status_of_an_offices_fault_is_documented_somewhere() {
    let text = document()["paths"].to_string();
    for code in Code::ALL.iter().filter(|code| code.as_str().starts_with("office.")) {
        let status = status_of(*code).as_u16();
        assert!(text.contains(&format!("\"{status}\"")), "{code}: {status}");
    }
}

#[test]
fn every_path_parameter_is_described() {
    let document = document();
    for route in ROUTES {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        let described: Vec<_> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["in"] == "path")
            .map(|it| format!("{{{}}}", it["name"].as_str().unwrap()))
            .collect();
        let wanted: Vec<_> = route.path.split('/').filter(|part| part.starts_with('{')).collect();
        assert_eq!(described, wanted, "{}", route.path);
        assert!(operation["operationId"].is_string());
    }
}

/// `OfficeClient::send` holds each answer against the document; here each operation is asked once in each way it can succeed.
#[tokio::test]
async fn every_way_to_succeed_is_as_documented() {
    let open = open().await;
    let office = open.office("causeni");
    let mut seen = BTreeSet::new();
    let mut note = |operation: &str, status: StatusCode| {
        seen.insert(format!("{operation} {}", status.as_u16()));
    };
    note("getDocument", office.get("/v1/openapi.json").await.status);
    note("listServices", office.get("/v1/services").await.status);
    note("getService", office.get("/v1/services/ledger-entry").await.status);
    let accepted = office.post("k1", &submission_request()).await;
    note("submit", accepted.status);
    let id = accepted.id();
    let events = format!("/v1/submissions/{id}/events");
    open.settle(id, json!({"number": "L"})).await;
    note("submit", office.post("k1", &submission_request()).await.status);
    note("getSubmission", office.get(&format!("/v1/submissions/{id}")).await.status);
    note("listSubmissions", office.get("/v1/submissions").await.status);
    note("followSubmission", office.get(&events).await.status);
    let seen_all = office.request(Method::GET, &events).header("last-event-id", "3");
    note("followSubmission", office.send(seen_all).await.status);
    let other = office.post("k2", &submission_request()).await.id();
    note(
        "cancelSubmission",
        office.send(office.request(Method::DELETE, &format!("/v1/submissions/{other}"))).await.status,
    );
    let file = office.request(Method::POST, "/v1/attachments").header("content-type", "application/xml").body("<a/>");
    note("upload", office.send(file).await.status);
    let document = document();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let documented: BTreeSet<_> = operations
        .flat_map(|operation| {
            let statuses = operation["responses"].as_object().unwrap().keys();
            let good = statuses.filter(|status| status.starts_with('2'));
            good.map(|status| format!("{} {status}", operation["operationId"].as_str().unwrap()))
        })
        .collect();
    assert_eq!(seen, documented);
}

#[tokio::test]
async fn the_document_is_served_as_it_is() {
    let open = open().await;
    assert_eq!(open.office("causeni").get("/v1/openapi.json").await.text, DOCUMENT);
}
