//! What is lost, frozen or away for a while: queues, the broker, a worker, PostgreSQL, the disk. All goes on afterwards,
//! and nothing is done twice that must not be.

use crate::{
    broker::{fixture::raw, private::PrivateNode},
    environment::{TestEnvironment, in_postgres, over_rabbitmq, variable},
};
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use lapin::options::{QueueDeleteOptions, QueuePurgeOptions};
use punte::{
    broker::rabbitmq::names::Names,
    domain::{ManualClock, Priority},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

const SOON: &str = "[scheduler]\nlost_after_secs = 1\n";

fn one_at_a_time(_: &str, text: String) -> String {
    text.replace("concurrency = 8", "concurrency = 1")
}

async fn post_many(env: &TestEnvironment, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(env.post("civil-status-extract").await);
    }
    env.until(ids.last().unwrap(), &["queued", "sending", "completed"]).await;
    ids
}

async fn all_are_done_once(env: &TestEnvironment, ids: &[String]) {
    for id in ids {
        env.ends(id, "completed").await;
    }
    assert_eq!(env.effects("civil-registry"), ids.len());
}

fn requeued(shown: &Value) -> usize {
    shown["timeline"].as_array().unwrap().iter().filter(|change| change["cause"] == "requeued").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_a_queue_that_is_emptied_or_deleted_goes_out_all_the_same() {
    let env = TestEnvironment::with_adapters(one_at_a_time, |plan| {
        over_rabbitmq(plan);
        plan.more_config = SOON.into();
    })
    .await;
    let queue = Names::new(&env.prefix()).unwrap().work_queue(&"civil-registry".parse().unwrap(), Priority::Ordinary);
    let connection = raw(&variable("PUNTE_TEST_AMQP_URL")).await;
    let channel = connection.create_channel().await.unwrap();
    env.behave("civil-registry", json!({"delay_ms": 100}));
    // A worker takes all that is there. Who consumes beside it makes it lose some.
    let mut thief =
        channel.basic_consume(queue.clone(), "".into(), Default::default(), Default::default()).await.unwrap();
    let first = post_many(&env, 20).await;
    assert!(stolen(&mut thief, true).await > 0, "nothing was in the queue");
    channel.queue_purge(queue.clone(), QueuePurgeOptions::default()).await.unwrap();
    let second = post_many(&env, 20).await;
    assert!(stolen(&mut thief, false).await > 0, "nothing was in the queue");
    channel.queue_delete(queue, QueueDeleteOptions::default()).await.unwrap();
    all_are_done_once(&env, &[first, second].concat()).await;
    env.leave().await;
}

/// How many it gets; some it makes away with.
async fn stolen(thief: &mut lapin::Consumer, for_good: bool) -> usize {
    let mut count = 0;
    while let Ok(Some(Ok(message))) = tokio::time::timeout(Duration::from_millis(300), thief.next()).await {
        if for_good {
            message.acker.ack(Default::default()).await.unwrap();
        }
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_held_that_forgets_everything_goes_out_all_the_same() {
    let node = PrivateNode::started().await;
    let env = TestEnvironment::with_adapters(one_at_a_time, |plan| {
        plan.rabbitmq = Some((node.uri.clone(), "forgetful".into()));
        plan.more_config = SOON.into();
    })
    .await;
    env.behave("civil-registry", json!({"delay_ms": 100}));
    let mut ids = post_many(&env, 20).await;
    node.ctl(&["stop_app"]).await;
    node.ctl(&["force_reset"]).await;
    ids.push(env.post("civil-status-extract").await);
    node.ctl(&["start_app"]).await;
    all_are_done_once(&env, &ids).await;
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_not_published_again_and_again() {
    let slow = |agency: &str, text: String| match agency {
        "civil-registry" => text.replace("requests_per_second = 50", "requests_per_second = 8"),
        _ => text,
    };
    let env = TestEnvironment::with_adapters(slow, |plan| {
        over_rabbitmq(plan);
        plan.more_config = SOON.into();
    })
    .await;
    let ids = post_many(&env, 64).await;
    all_are_done_once(&env, &ids).await;
    let mut count = 0;
    for id in &ids {
        count += requeued(&env.show(id).await);
    }
    assert!(count < ids.len() / 2, "{count} messages were published again, of {} that were never lost", ids.len());
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_lease_ran_out_while_it_waited_for_the_journal_sends_nothing() {
    let clock = Arc::new(ManualClock::at(Timestamp::now()));
    let env = TestEnvironment::planned(|plan| {
        in_postgres(plan);
        plan.clock = clock.clone();
    })
    .await;
    let database = database_of(&env).await;
    // No attempt can be recorded.
    database.batch_execute("BEGIN; LOCK TABLE attempts IN EXCLUSIVE MODE").await.unwrap();
    let id = env.post("legal-event").await;
    // The worker waits with it for the table, and whoever would note that it is queued waits for the worker.
    env.until(&id, &["accepted", "queued"]).await;
    sleep(Duration::from_millis(500)).await;
    clock.advance(SignedDuration::from_secs(60));
    // If it were sent all the same, it would be on its way when the next attempt asks for it.
    env.behave("legal-events", json!({"delay_ms": 1500, "times": 1}));
    database.batch_execute("ROLLBACK").await.unwrap();
    let mut shown = env.show(&id).await;
    while shown["state"] != "completed" {
        assert!(!["parked", "expired"].contains(&shown["state"].as_str().unwrap()), "{shown:#}");
        // However slow this machine is, no lease runs out on an exchange under way.
        if shown["state"] != "sending" {
            clock.advance(SignedDuration::from_millis(500));
        }
        sleep(Duration::from_millis(100)).await;
        shown = env.show(&id).await;
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!(env.effects("legal-events"), 1, "{shown:#}");
    assert!(shown["attempts"].as_u64().unwrap() >= 2, "{shown:#}");
    env.leave().await;
}

/// Where the journal gives up soon on a table that somebody has locked.
async fn env_without_patience(clock: &Arc<ManualClock>) -> TestEnvironment {
    let env = TestEnvironment::planned(|plan| {
        in_postgres(plan);
        plan.journal_url.as_mut().unwrap().push_str("&options=-c%20lock_timeout%3D300ms");
        plan.clock = clock.clone();
    })
    .await;
    env.simulator("civil-registry").set_clock(clock.clone());
    env
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_waited_long_for_the_journal_is_sealed_anew_before_it_leaves() {
    let clock = Arc::new(ManualClock::at(Timestamp::now()));
    let env = env_without_patience(&clock).await;
    let database = database_of(&env).await;
    // No attempt can be recorded.
    database.batch_execute("BEGIN; LOCK TABLE attempts IN EXCLUSIVE MODE").await.unwrap();
    let id = env.post("civil-status-extract").await;
    sleep(Duration::from_millis(700)).await;
    // The agency takes no signature of so long ago.
    clock.advance(SignedDuration::from_secs(400));
    // A try that had begun before is over.
    sleep(Duration::from_millis(700)).await;
    database.batch_execute("ROLLBACK").await.unwrap();
    let shown = env.ends(&id, "completed").await;
    assert_eq!(shown["attempts"], 1, "{shown:#}");
    env.leave().await;
}

pub async fn database_of(env: &TestEnvironment) -> tokio_postgres::Client {
    let config: toml::Table = std::fs::read_to_string(env.stack.config()).unwrap().parse().unwrap();
    let (server, schema) = config["journal"]["url"].as_str().unwrap().split_once("?search_path=").unwrap();
    let schema = schema.split('&').next().unwrap();
    let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path = {schema}")).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_the_journal_does_not_take_is_parked_in_words_and_holds_no_place() {
    let env = TestEnvironment::with_adapters(one_at_a_time, |_| {}).await;
    let journal = env.stack.folder.path().join("data/journal.db");
    let change = |sql: &str| rusqlite::Connection::open(&journal).unwrap().execute_batch(sql).unwrap();
    change(
        "CREATE TRIGGER not_taken BEFORE UPDATE ON submissions WHEN new.state = 'completed' \
         BEGIN SELECT RAISE(ABORT, 'CANARY'); END",
    );
    let id = env.post("civil-status-extract").await;
    let shown = env.ends(&id, "parked").await;
    assert!(shown.to_string().contains("bus.answer.mapping") && !shown.to_string().contains("CANARY"), "{shown}");
    change("DROP TRIGGER not_taken");
    let next = env.post("civil-status-extract").await;
    env.ends(&next, "completed").await;
}
