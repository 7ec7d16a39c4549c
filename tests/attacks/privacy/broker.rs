//! What lies in RabbitMQ: work and events are read as they are, with their properties.

use super::canaries::{Canaries, canary};
use crate::program::Program;
use lapin::{Connection, ConnectionProperties, options::*, types::FieldTable};
use punte::roles::stage::{OFFICE, Stage, StagePlan};
use std::{
    path::Path,
    time::{Duration, Instant},
};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: start the tests with tests/run"))
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_events_and_dead_letters_carry_identifiers_only() {
    let uri = variable("PUNTE_TEST_AMQP_URL");
    let prefix = format!("canary-{}", uuid::Uuid::new_v4().simple());
    let mut plan = StagePlan::of_project(Path::new(env!("CARGO_MANIFEST_DIR")));
    plan.rabbitmq = Some((uri.clone(), prefix.clone()));
    let postgres = variable("PUNTE_TEST_POSTGRES_URL");
    let separator = if postgres.contains('?') { '&' } else { '?' };
    plan.journal_url = Some(format!("{postgres}{separator}search_path=canary_{}", uuid::Uuid::new_v4().simple()));
    let stage = Stage::prepare(plan).await.unwrap();
    let office = stage.client(OFFICE).unwrap();
    // Nobody takes the work from its queues.
    let arguments = ["--role", "gateway", "--role", "scheduler"];
    let program = Program::start(&stage, &office, &arguments, &[]).await;
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
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
    office.delete(program.url(&format!("/v1/submissions/{}", submitted[0]))).send().await.unwrap();
    let canaries = Canaries::new();
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
    for queue in ["work", "dead"].iter().flat_map(|kind| {
        let prefix = &prefix;
        ["civil-registry", "legal-events"].map(move |agency| format!("{prefix}.{kind}.{agency}"))
    }) {
        let _ = channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
    }
}
