//! What is lost, frozen or away for a while: queues, the broker, a worker, PostgreSQL, the disk. All goes on afterwards,
//! and nothing is done twice that must not be.

use super::crashes::{in_postgres, over_rabbitmq, variable};
use crate::{broker::private::PrivateNode, house::House, town::Town};
use jiff::{SignedDuration, Timestamp};
use lapin::options::{QueueDeleteOptions, QueuePurgeOptions};
use punte::{
    broker::rabbitmq::names::Names,
    domain::{AgencyName, ManualClock, Priority},
};
use serde_json::{Value, json};
use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

const SOON: &str = "[scheduler]\nlost_after_secs = 1\n";

fn one_at_a_time(_: &str, text: String) -> String {
    text.replace("concurrency = 8", "concurrency = 1")
}

async fn post_many(town: &Town, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(town.post("civil-status-extract").await);
    }
    town.until(ids.last().unwrap(), &["queued", "sending", "completed"]).await;
    ids
}

async fn all_are_done_once(town: &Town, ids: &[String]) {
    for id in ids {
        town.ends(id, "completed").await;
    }
    assert_eq!(town.effects("civil-registry"), ids.len());
}

fn requeued(shown: &Value) -> usize {
    shown["timeline"].as_array().unwrap().iter().filter(|change| change["cause"] == "requeued").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_a_queue_that_is_emptied_or_deleted_goes_out_all_the_same() {
    let town = Town::with_adapters(one_at_a_time, |plan| {
        over_rabbitmq(plan);
        plan.more_config = SOON.into();
    })
    .await;
    let prefix = prefix_of(&town);
    let queue = Names::new(&prefix).unwrap().work_queue(&"civil-registry".parse().unwrap(), Priority::Ordinary);
    let connection = crate::broker::stage::raw(&variable("PUNTE_TEST_AMQP_URL")).await;
    let channel = connection.create_channel().await.unwrap();
    town.behave("civil-registry", json!({"delay_ms": 100}));
    let first = post_many(&town, 20).await;
    let emptied = channel.queue_purge(queue.clone(), QueuePurgeOptions::default()).await.unwrap();
    assert!(emptied > 0, "nothing was in the queue");
    let second = post_many(&town, 20).await;
    let deleted = channel.queue_delete(queue, QueueDeleteOptions::default()).await.unwrap();
    assert!(deleted > 0, "nothing was in the queue");
    all_are_done_once(&town, &[first, second].concat()).await;
    town.leave().await;
}

fn prefix_of(town: &Town) -> String {
    let config: toml::Table = std::fs::read_to_string(town.stage.config()).unwrap().parse().unwrap();
    config["broker"]["prefix"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_held_that_forgets_everything_goes_out_all_the_same() {
    let node = PrivateNode::started().await;
    let town = Town::with_adapters(one_at_a_time, |plan| {
        plan.rabbitmq = Some((node.uri.clone(), "forgetful".into()));
        plan.more_config = SOON.into();
    })
    .await;
    town.behave("civil-registry", json!({"delay_ms": 100}));
    let mut ids = post_many(&town, 20).await;
    node.ctl(&["stop_app"]).await;
    node.ctl(&["force_reset"]).await;
    ids.push(town.post("civil-status-extract").await);
    node.ctl(&["start_app"]).await;
    all_are_done_once(&town, &ids).await;
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_not_published_again_and_again() {
    let slow = |agency: &str, text: String| match agency {
        "civil-registry" => text.replace("requests_per_second = 50", "requests_per_second = 8"),
        _ => text,
    };
    let town = Town::with_adapters(slow, |plan| {
        over_rabbitmq(plan);
        plan.more_config = SOON.into();
    })
    .await;
    let ids = post_many(&town, 64).await;
    all_are_done_once(&town, &ids).await;
    let mut count = 0;
    for id in &ids {
        count += requeued(&town.show(id).await);
    }
    assert!(count < ids.len() / 2, "{count} messages were published again, of {} that were never lost", ids.len());
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_wakes_up_after_its_lease_does_nothing_twice() {
    const WORKERS: [usize; 2] = [1, 2];
    let processes: [&[&str]; 3] = [&["gateway", "scheduler", "courier"], &["worker"], &["worker"]];
    let mut house = House::build(&processes, |plan| {
        over_rabbitmq(plan);
        in_postgres(plan);
    })
    .await;
    // One of them works while we see that everything is up.
    let first = house.post("person-lookup").await;
    house.until(&first, &["completed"]).await;
    house.behave(&json!({"delay_ms": 800}));
    let mut ids = Vec::new();
    for service in ["legal-event", "civil-status-extract", "certified-extract"].repeat(2) {
        ids.push(house.post(service).await);
    }
    house.until(&ids[5], &["sending", "completed"]).await;
    WORKERS.iter().for_each(|worker| house.signal(*worker, "STOP"));
    house.behave(&Value::Null);
    // A fresh worker takes over what the frozen one is taken for dead with; the other one wakes up when all is over.
    house.kill(WORKERS[1]);
    house.start(WORKERS[1]);
    let audit = house.audit().await;
    house.signal(WORKERS[0], "CONT");
    sleep(Duration::from_secs(2)).await;
    println!("{audit:?} {:?}", house.audit().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_goes_away_under_load_costs_only_time() {
    let server = Postgres::start();
    let house = House::build(&[&[]], |plan| {
        over_rabbitmq(plan);
        plan.journal_url = Some(server.url.clone());
    })
    .await;
    house.post("person-lookup").await;
    let counters = house.open_counters(2, Duration::from_millis(30));
    for _ in 0..2 {
        house.behave(&json!({"delay_ms": 200}));
        sleep(Duration::from_secs(1)).await;
        server.run("stop");
        sleep(Duration::from_millis(500)).await;
        server.run("start");
        house.behave(&json!({"fault": "reset-after-effect", "times": 1}));
        sleep(Duration::from_secs(1)).await;
    }
    counters.close().await;
    house.behave(&Value::Null);
    println!("{:?}", house.audit().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_lease_ran_out_while_it_waited_for_the_journal_sends_nothing() {
    let clock = Arc::new(ManualClock::at(Timestamp::now()));
    let town = Town::planned(|plan| {
        in_postgres(plan);
        plan.clock = clock.clone();
    })
    .await;
    let database = database_of(&town).await;
    // No attempt can be recorded.
    database.batch_execute("BEGIN; LOCK TABLE attempts IN EXCLUSIVE MODE").await.unwrap();
    let id = town.post("legal-event").await;
    // The worker waits with it for the table, and whoever would note that it is queued waits for the worker.
    town.until(&id, &["accepted", "queued"]).await;
    sleep(Duration::from_millis(500)).await;
    clock.advance(SignedDuration::from_secs(60));
    // If it were sent all the same, it would be on its way when the next attempt asks for it.
    town.behave("legal-events", json!({"delay_ms": 1500, "times": 1}));
    database.batch_execute("ROLLBACK").await.unwrap();
    let mut shown = town.show(&id).await;
    while shown["state"] != "completed" {
        clock.advance(SignedDuration::from_millis(500));
        sleep(Duration::from_millis(100)).await;
        shown = town.show(&id).await;
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!(town.effects("legal-events"), 1, "{shown:#}");
    assert!(shown["attempts"].as_u64().unwrap() >= 2, "{shown:#}");
    town.leave().await;
}

async fn database_of(town: &Town) -> tokio_postgres::Client {
    let config: toml::Table = std::fs::read_to_string(town.stage.config()).unwrap().parse().unwrap();
    let (server, schema) = config["journal"]["url"].as_str().unwrap().split_once("?search_path=").unwrap();
    let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path = {schema}")).await.unwrap();
    client
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_cannot_be_written_waits_for_the_journal() {
    let house = House::build(&[&[]], |_| {}).await;
    let first = house.post("person-lookup").await;
    house.until(&first, &["completed"]).await;
    house.behave(&json!({"delay_ms": 1000}));
    let once = house.post("certified-extract").await;
    until_asked(&house, "once-registry").await;
    // Longer than a writer waits for another: the journal cannot be written, as if the disk were full.
    let blocker = rusqlite::Connection::open(house.stage.folder.path().join("data/journal.db")).unwrap();
    blocker.busy_timeout(Duration::from_secs(5)).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    sleep(Duration::from_secs(12)).await;
    assert_eq!(house.show(&once).await.unwrap()["state"], "sending");
    blocker.execute_batch("ROLLBACK").unwrap();
    let shown = house.until(&once, &["completed", "uncertain", "parked"]).await;
    assert_eq!((&shown["state"], &shown["attempts"]), (&json!("completed"), &json!(1)), "{shown:#}");
    house.audit().await;
}

async fn until_asked(house: &House, agency: &str) {
    let begun = Instant::now();
    while house.stage.simulators[&agency.parse::<AgencyName>().unwrap()].requests() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{agency} was never asked");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agency_that_is_still_at_work_when_it_is_asked_gets_nothing_twice() {
    let mut house = House::build(&[&[]], |_| {}).await;
    let first = house.post("person-lookup").await;
    house.until(&first, &["completed"]).await;
    // It acts late, though in time, and says until then that it knows of nothing.
    house.behave(&json!({"delay_ms": 1900, "times": 1}));
    let id = house.post("legal-event").await;
    until_asked(&house, "legal-events").await;
    sleep(Duration::from_millis(100)).await;
    house.kill(0);
    house.start(0);
    let shown = house.until(&id, &["completed"]).await;
    sleep(Duration::from_secs(2)).await;
    house.audit().await;
    assert!(shown["attempts"].as_u64().unwrap() >= 2, "{shown:#}");
}
