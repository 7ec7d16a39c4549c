//! The same road over a real RabbitMQ and a real PostgreSQL.

use crate::town::Town;
use punte::roles::stage::StagePlan;
use serde_json::json;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/run"))
}

fn over_rabbitmq(plan: &mut StagePlan, prefix: &str) {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    plan.rabbitmq = Some((variable("PUNTE_TEST_AMQP_URL"), format!("{prefix}-{unique}")));
}

fn in_postgres(plan: &mut StagePlan) {
    let url = variable("PUNTE_TEST_POSTGRES_URL");
    let separator = if url.contains('?') { '&' } else { '?' };
    let schema = format!("road_{}", uuid::Uuid::new_v4().simple());
    plan.journal_url = Some(format!("{url}{separator}search_path={schema}"));
}

async fn all_services_go(town: &Town) {
    for service in ["person-lookup", "civil-status-extract", "legal-event"] {
        let id = town.post(service).await;
        town.ends(&id, "completed").await;
    }
    town.behave("legal-events", json!({"fault": "reset-after-effect", "times": 1}));
    let id = town.post("legal-event").await;
    let shown = town.ends(&id, "completed").await;
    assert_eq!(shown["attempts"], 2);
    assert_eq!(town.effects("legal-events"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_travel_over_rabbitmq() {
    let town = Town::planned(|plan| over_rabbitmq(plan, "road")).await;
    all_services_go(&town).await;
    let depth = town.stage.process().unwrap().broker.depth(&"civil-registry".parse().unwrap()).await.unwrap();
    assert_eq!((depth.ready, depth.consumers), (0, 2));
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_are_journaled_in_postgres() {
    let town = Town::planned(in_postgres).await;
    all_services_go(&town).await;
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_travel_with_both() {
    let town = Town::planned(|plan| {
        over_rabbitmq(plan, "both");
        in_postgres(plan);
    })
    .await;
    all_services_go(&town).await;
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_circuit_loses_nothing_over_rabbitmq() {
    let touchy = |_: &str, text: String| {
        text.replace("failures = 5", "failures = 2").replace("cooldown_secs = 15", "cooldown_secs = 1")
    };
    let town = Town::with_adapters(touchy, |plan| {
        over_rabbitmq(plan, "circuit");
        plan.retry = "first_wait_secs = 0.5\nmax_wait_secs = 1\nmax_attempts = 50\n";
    })
    .await;
    town.behave("civil-registry", json!({"fault": {"status": {"code": 503}}, "times": 6}));
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(town.post("civil-status-extract").await);
    }
    for id in &ids {
        town.ends(id, "completed").await;
    }
    assert_eq!(town.effects("civil-registry"), ids.len());
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_are_accepted_while_rabbitmq_is_away() {
    // Nobody listens on this port.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let town = Town::planned(|plan| {
        plan.rabbitmq = Some((format!("amqp://guest:guest@127.0.0.1:{free}/%2f"), "away".into()));
    })
    .await;
    let id = town.post("person-lookup").await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(town.show(&id).await["state"], "accepted");
    let ready = town.operations("/healthz/ready").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("degraded"), "{ready}");
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_can_read_goes_to_the_dead_letters_and_work_goes_on() {
    let town = Town::planned(|plan| over_rabbitmq(plan, "poison")).await;
    // Once one has gone through, the queues are there.
    let id = town.post("person-lookup").await;
    town.ends(&id, "completed").await;
    let config = std::fs::read_to_string(town.stage.config()).unwrap();
    let prefix = config.split("prefix = \"").nth(1).unwrap().split('"').next().unwrap();
    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(&variable("PUNTE_TEST_AMQP_URL"), properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("{prefix}.work.civil-registry");
    for poison in [&b"not a work item"[..], br#"{"version":99}"#] {
        let options = lapin::options::BasicPublishOptions::default();
        channel.basic_publish("".into(), queue.as_str().into(), options, poison, Default::default()).await.unwrap();
    }
    let id = town.post("person-lookup").await;
    town.ends(&id, "completed").await;
    let broker = &town.stage.process().unwrap().broker;
    let agency = "civil-registry".parse().unwrap();
    for _ in 0..200 {
        if broker.dead_letter_count(&agency).await.unwrap() == 2 {
            return town.leave().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{} dead letters instead of 2", broker.dead_letter_count(&agency).await.unwrap());
}
