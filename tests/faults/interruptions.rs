//! What is away, frozen or late for a while: a worker, PostgreSQL, the disk, an agency. All goes on afterwards, and nothing is
//! done twice that must not be.

use crate::harness::{ALL, ProcessCluster, over_rabbitmq, shared};
use serde_json::{Value, json};
use std::{process::Command, time::Duration};
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_wakes_up_after_its_lease_does_nothing_twice() {
    const WORKERS: [usize; 2] = [1, 2];
    let processes: [&[&str]; 3] = [&["gateway", "scheduler", "notifier"], &["worker"], &["worker"]];
    let mut cluster = ProcessCluster::build(&processes, shared).await;
    // One of them works while we see that everything is up.
    let first = cluster.post("person-lookup").await;
    cluster.until(&first, &["completed"]).await;
    cluster.behave(&json!({"delay_ms": 800}));
    let mut ids = Vec::new();
    for service in ["legal-event", "civil-status-extract", "certified-extract"].repeat(2) {
        ids.push(cluster.post(service).await);
    }
    cluster.until(&ids[5], &["sending", "completed"]).await;
    WORKERS.iter().for_each(|worker| cluster.signal(*worker, "STOP"));
    cluster.behave(&Value::Null);
    // A fresh worker takes over what the frozen one is taken for dead with; the other one wakes up when all is over.
    cluster.kill(WORKERS[1]);
    cluster.start(WORKERS[1]);
    cluster.evidence().await;
    cluster.signal(WORKERS[0], "CONT");
    sleep(Duration::from_secs(2)).await;
    cluster.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_goes_away_under_load_costs_only_time() {
    let server = Postgres::start();
    let mut cluster = ProcessCluster::build(&[ALL], |plan| {
        over_rabbitmq(plan);
        plan.journal_url = Some(server.url.clone());
    })
    .await;
    cluster.post("person-lookup").await;
    let clients = cluster.open_load_clients(2, Duration::from_millis(30));
    for _ in 0..2 {
        cluster.behave(&json!({"delay_ms": 200}));
        sleep(Duration::from_secs(1)).await;
        server.run("stop");
        sleep(Duration::from_millis(500)).await;
        server.run("start");
        cluster.behave(&json!({"fault": "reset-after-effect", "times": 1}));
        sleep(Duration::from_secs(1)).await;
    }
    clients.close().await;
    cluster.behave(&Value::Null);
    cluster.figures.fault("PostgreSQL stopped and started");
    cluster.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_cannot_be_written_waits_for_the_journal() {
    let mut cluster = ProcessCluster::build(&[ALL], |_| {}).await;
    let first = cluster.post("person-lookup").await;
    cluster.until(&first, &["completed"]).await;
    cluster.behave(&json!({"delay_ms": 1000}));
    let once = cluster.post("certified-extract").await;
    cluster.until_asked("once-registry").await;
    // Longer than a writer waits for another: the journal cannot be written, as if the disk were full.
    let blocker = rusqlite::Connection::open(cluster.stack.folder.path().join("data/journal.db")).unwrap();
    blocker.busy_timeout(Duration::from_secs(5)).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    sleep(Duration::from_secs(12)).await;
    assert_eq!(cluster.show(&once).await.unwrap()["state"], "sending");
    blocker.execute_batch("ROLLBACK").unwrap();
    let shown = cluster.until(&once, &["completed", "uncertain", "parked"]).await;
    assert_eq!((&shown["state"], &shown["attempts"]), (&json!("completed"), &json!(1)), "{shown:#}");
    cluster.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agency_that_is_still_at_work_when_it_is_asked_gets_nothing_twice() {
    let mut cluster = ProcessCluster::build(&[ALL], |_| {}).await;
    let first = cluster.post("person-lookup").await;
    cluster.until(&first, &["completed"]).await;
    // It acts late, though in time, and says until then that it knows of nothing.
    cluster.behave(&json!({"delay_ms": 1900, "times": 1}));
    let id = cluster.post("legal-event").await;
    cluster.until_asked("legal-events").await;
    sleep(Duration::from_millis(100)).await;
    cluster.kill(0);
    cluster.start(0);
    let shown = cluster.until(&id, &["completed"]).await;
    sleep(Duration::from_secs(2)).await;
    cluster.audit().await;
    assert!(shown["attempts"].as_u64().unwrap() >= 2, "{shown:#}");
}

/// A server of the test's own.
struct Postgres {
    folder: tempfile::TempDir,
    url: String,
}

impl Postgres {
    fn start() -> Self {
        let mut server = Self { folder: tempfile::tempdir().unwrap(), url: String::new() };
        let exports = server.run("start");
        server.url = exports.trim().split_once('=').unwrap().1.to_owned();
        server
    }

    fn run(&self, action: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/postgres");
        let output = Command::new(script).arg(action).arg(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{action}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/postgres");
        let _ = Command::new(script).arg("stop").arg(self.folder.path()).output();
    }
}
