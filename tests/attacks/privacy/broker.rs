//! What lies in RabbitMQ: work and events are read as they are, with their properties. And what the program says in its
//! log of RabbitMQ and PostgreSQL.

use super::{
    canaries::{Canaries, PASSWORD, TALKATIVE, canary},
    everywhere::{SERVICES, Walk},
};
use crate::{environment::variable, program::Program};
use lapin::{Channel, Connection, ConnectionProperties, options::*, types::FieldTable};
use punte::kit::test_stack::{OFFICE, TestStack, TestStackPlan};
use std::{
    path::Path,
    time::{Duration, Instant},
};

fn new_prefix() -> String {
    format!("canary-{}", uuid::Uuid::new_v4().simple())
}

async fn stack(prefix: &str) -> TestStack {
    let mut plan = TestStackPlan::of_project(Path::new(env!("CARGO_MANIFEST_DIR")));
    plan.rabbitmq = Some((variable("PUNTE_TEST_AMQP_URL"), prefix.to_owned()));
    plan.journal_url = Some(journal_url());
    TestStack::prepare(plan).await.unwrap()
}

/// With a password: the tests' PostgreSQL trusts whoever comes from this machine, and does not ask for it.
fn journal_url() -> String {
    let mut url = variable("PUNTE_TEST_POSTGRES_URL");
    if password_in(&url).is_none() {
        url = url.replacen('@', &format!(":{PASSWORD}@"), 1);
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}search_path=canary_{}", uuid::Uuid::new_v4().simple())
}

fn password_in(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (user, _) = rest.split_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

fn assert_log_is_clean(program: &Program, mut canaries: Canaries) {
    for url in ["PUNTE_TEST_AMQP_URL", "PUNTE_TEST_POSTGRES_URL"].map(variable) {
        // A shorter one may be a part of any word.
        if let Some(password) = password_in(&url).filter(|password| password.len() >= 5) {
            canaries.add(password);
        }
    }
    let log = program.said();
    assert!(log.contains("DEBUG") && log.contains("connected to the broker"), "{log}");
    canaries.assert_absent("the log", &log);
}

async fn channel() -> (Connection, Channel) {
    let uri = variable("PUNTE_TEST_AMQP_URL");
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn delete_queues(channel: &Channel, prefix: &str) {
    for kind in ["work", "dead"] {
        for agency in ["civil-registry", "legal-events"] {
            let queue = format!("{prefix}.{kind}.{agency}");
            let _ = channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_over_rabbitmq_and_postgresql_names_nobody_and_no_password() {
    let prefix = new_prefix();
    let stack = stack(&prefix).await;
    let office = stack.client(OFFICE).unwrap();
    let program = Program::start(&stack, &office, &["--log", TALKATIVE], &[("RUST_BACKTRACE", "full")]).await;
    let mut walk = Walk::new(&program, &office);
    for service in SERVICES {
        let shown = walk.submit(service).await;
        assert_eq!(shown["state"], "completed", "{shown:#}");
        walk.canaries.add_texts_of(&shown["answer"]);
    }
    walk.attach().await;
    walk.look_around().await;
    walk.err().await;
    assert!(program.said().contains("the agency answered"), "{}", program.said());
    assert_log_is_clean(&program, walk.canaries);
    drop(program);
    let (_connection, channel) = channel().await;
    delete_queues(&channel, &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_events_and_dead_letters_carry_identifiers_only() {
    let prefix = new_prefix();
    let stack = stack(&prefix).await;
    let office = stack.client(OFFICE).unwrap();
    // Nobody takes the work from its queues.
    let arguments = ["--role", "gateway", "--role", "scheduler", "--log", TALKATIVE];
    let program = Program::start(&stack, &office, &arguments, &[("RUST_BACKTRACE", "full")]).await;
    let (_connection, channel) = channel().await;
    let events = channel
        .queue_declare("".into(), QueueDeclareOptions { exclusive: true, ..Default::default() }, FieldTable::default())
        .await
        .unwrap();
    let events = events.name().as_str().to_owned();
    let exchange = format!("{prefix}.events");
    channel
        .queue_bind(
            events.as_str().into(),
            exchange.into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let mut submitted = Vec::new();
    for service in ["person-lookup", "civil-status-extract", "legal-event"] {
        let request = office.post(program.url("/v1/submissions")).header("content-type", "application/json");
        let answer = request.header("idempotency-key", service).body(canary(service).to_string()).send().await.unwrap();
        assert!(answer.status().is_success());
        let url = answer.headers()["location"].to_str().unwrap().to_owned();
        submitted.push(url.rsplit('/').next().unwrap().to_owned());
    }
    let canaries = Canaries::new();
    let cancelled = office.delete(program.url(&format!("/v1/submissions/{}", submitted[0]))).send().await.unwrap();
    assert!(cancelled.status().is_success());
    canaries.assert_absent("a cancellation", &cancelled.text().await.unwrap());
    let mut seen = String::new();
    let begun = Instant::now();
    let queues = ["civil-registry", "legal-events"].map(|agency| format!("{prefix}.work.{agency}"));
    while submitted.iter().any(|id| !seen.contains(id)) || !seen.contains("event") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{submitted:?} are not all in {seen}");
        for queue in queues.iter().chain([&events]) {
            let Some(got) = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.unwrap() else {
                continue;
            };
            let (body, head) =
                (String::from_utf8(got.delivery.data.clone()).unwrap(), format!("{:?}", got.delivery.properties));
            canaries.assert_absent(queue, &format!("{body} {head} {}", got.delivery.routing_key));
            seen += &format!("{body} {}\n", if *queue == events { "event" } else { "" });
            // Refused for good, work is a dead letter.
            channel.basic_reject(got.delivery.delivery_tag, BasicRejectOptions { requeue: false }).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let dead =
        channel.basic_get(format!("{prefix}.dead.civil-registry").into(), BasicGetOptions::default()).await.unwrap();
    let dead = dead.expect("no dead letter").delivery;
    canaries.assert_absent("a dead letter", &format!("{} {:?}", String::from_utf8_lossy(&dead.data), dead.properties));
    delete_queues(&channel, &prefix).await;
    assert_log_is_clean(&program, canaries);
}
