//! Health and metrics.

use super::environment::{TestEnvironment, submission_request};
use punte::roles::operations::{ComponentHealth, Operations, OperationsParts, QueueMonitor, Readiness};
use serde_json::Value;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

async fn started(env: &TestEnvironment) -> (Operations, Arc<Readiness>) {
    let readiness = Arc::new(Readiness::new(env.shutdown.clone(), env.metrics.clone()));
    readiness.add_journal(env.journal.clone());
    let queues = QueueMonitor::new(env.broker.clone(), Vec::new(), env.metrics.clone());
    readiness.add_broker(env.broker.clone(), Arc::new(queues));
    let parts = OperationsParts {
        socket: punte::http_server::reserve(([127, 0, 0, 1], 0).into()).unwrap(),
        readiness: readiness.clone(),
        metrics: env.metrics.clone(),
        shutdown: CancellationToken::new(),
    };
    (Operations::start(parts).unwrap(), readiness)
}

async fn get(operations: &Operations, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let answer = client.build().unwrap().get(format!("http://{}{path}", operations.address)).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_process_is_ready_without_its_broker_but_not_without_its_journal() {
    let env = TestEnvironment::new();
    let (operations, readiness) = started(&env).await;
    assert_eq!(get(&operations, "/healthz/live").await.0, 200);
    assert_eq!(get(&operations, "/healthz/ready").await.0, 200);
    env.broker.close().await;
    let (status, text) = get(&operations, "/healthz/ready").await;
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &report["parts"]["journal"]["state"]), (200, &"up".into()));
    readiness.add("journal-elsewhere", Box::new(|| Box::pin(async { ComponentHealth::Down("gone".into()) })));
    assert_eq!(get(&operations, "/healthz/ready").await.0, 503);
    assert_eq!(get(&operations, "/healthz/live").await.0, 200);
}

#[tokio::test]
async fn what_is_not_there_is_told_in_words() {
    let env = TestEnvironment::new();
    let (operations, _) = started(&env).await;
    assert_eq!(get(&operations, "/nothing").await, (404, "nothing here\n".into()));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let told = client.post(format!("http://{}/metrics", operations.address)).send().await.unwrap();
    assert_eq!((told.status().as_u16(), told.headers()["allow"].to_str().unwrap()), (405, "GET,HEAD"));
    assert_eq!(told.text().await.unwrap(), "GET only\n");
}

#[tokio::test]
async fn a_process_that_stops_is_not_ready_but_lives() {
    let env = TestEnvironment::new();
    let (operations, _) = started(&env).await;
    env.shutdown.cancel();
    assert_eq!(get(&operations, "/healthz/ready").await.0, 503);
    assert_eq!(get(&operations, "/healthz/live").await.0, 200);
}

#[tokio::test]
async fn what_offices_did_is_in_the_metrics() {
    let env = TestEnvironment::new();
    let (operations, _) = started(&env).await;
    let open = env.open().await;
    let office = open.office("causeni");
    office.post("k1", &submission_request()).await;
    office.get("/v1/submissions/not-an-id").await;
    office.get("/wp-login.php").await;
    let (status, text) = get(&operations, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        r#"punte_requests_total{method="POST",route="/v1/submissions",status="202"} 1"#,
        r#"punte_requests_total{method="GET",route="/v1/submissions/{id}",status="404"} 1"#,
        r#"punte_requests_total{method="GET",route="other",status="404"} 1"#,
        r#"punte_refusals_total{code="office.request.not-found"} 2"#,
        r#"punte_submissions_total{state="accepted",service="ledger-entry",agency="ledger"} 1"#,
        "# EOF",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn nothing_else_is_there() {
    let env = TestEnvironment::new();
    let (operations, _) = started(&env).await;
    assert_eq!(get(&operations, "/").await.0, 404);
    assert_eq!(get(&operations, "/v1/submissions").await.0, 404);
}
