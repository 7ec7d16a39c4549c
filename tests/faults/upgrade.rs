//! A rolling upgrade: new processes join while old ones drain, under load; messages of two releases lie side by side.

use crate::harness::{House, PATIENCE, shared, variable};
use lapin::{
    BasicProperties, Channel,
    options::{BasicGetOptions, BasicPublishOptions},
};
use punte::{
    broker::rabbitmq::names::{Names, work_key},
    domain::{AgencyName, Priority},
    settings::{BrokerSettings, Settings},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::{net::TcpStream, time::sleep};

/// Joins, and is there to be used.
async fn joins(house: &mut House, roles: &[&'static str]) -> usize {
    let number = house.add(roles);
    house.start(number);
    let begun = Instant::now();
    if let Some(port) = house.processes[number].gateway_port {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "{roles:?} never came up");
            sleep(Duration::from_millis(20)).await;
        }
    }
    number
}

/// Is told to end, and ends in order.
async fn drains(house: &mut House, number: usize) {
    house.signal(number, "TERM");
    let status = house.processes[number].end(Duration::from_secs(60)).await;
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", house.processes[number].last_words());
    house.figures.fault("process replaced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_are_replaced_one_after_the_other_and_offices_notice_nothing() {
    let processes: [&[&str]; 5] = [&["gateway"], &["gateway"], &["worker"], &["scheduler"], &["courier"]];
    let mut house = House::build(&processes, shared).await;
    // Whoever is not up yet refuses connections.
    house.post("person-lookup").await;
    house.post("person-lookup").await;
    let before = house.office.doors.server_errors();
    let counters = house.open_counters(4, Duration::from_millis(5));
    let mut gateways: Vec<_> = house.processes.iter().filter_map(|it| it.gateway_port).collect();
    house.behave(&json!({"delay_ms": 200}));
    for (old, roles) in processes.iter().enumerate() {
        let new = joins(&mut house, roles).await;
        if let (Some(old), Some(new)) = (house.processes[old].gateway_port, house.processes[new].gateway_port) {
            gateways.retain(|port| *port != old);
            gateways.push(new);
            house.office.doors.are(gateways.clone());
        }
        sleep(Duration::from_millis(300)).await;
        drains(&mut house, old).await;
    }
    counters.close().await;
    assert_eq!(house.office.doors.server_errors() - before, 0, "an office met a server error");
    let figures = house.audit().await;
    assert_eq!(figures.ends["completed"], figures.submissions, "somebody was interrupted: {figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_a_newer_release_is_understood_or_set_aside_and_replaced() {
    let processes: [&[&str]; 2] = [&["gateway", "scheduler", "courier"], &["worker"]];
    let mut house = House::empty(&processes, shared, |_, text| text).await;
    house.start(0);
    let (extended, other) = (house.post("civil-status-extract").await, house.post("certified-extract").await);
    for id in [&extended, &other] {
        house.until(id, &["queued"]).await;
    }
    let (names, channel) = amqp(&house).await;
    let dead = names.dead_queue(&"once-registry".parse().unwrap());
    rewrite(&channel, &names, "civil-registry", |message| message["lane"] = "express".into()).await;
    rewrite(&channel, &names, "once-registry", |message| message["version"] = 2.into()).await;
    house.start(1);
    let shown = house.until(&extended, &["completed"]).await;
    assert_eq!(shown["attempts"], 1, "{shown:#}");
    let shown = house.until(&other, &["completed"]).await;
    let timeline = shown["timeline"].as_array().unwrap();
    assert!(timeline.iter().any(|change| change["cause"] == "requeued"), "{shown:#}");
    house.explained.insert(dead.to_string(), 1);
    house.figures.fault("message of a newer release");
    house.audit().await;
}

async fn amqp(house: &House) -> (Names, Channel) {
    let settings = Settings::load(&house.stage.config()).unwrap_or_else(|faults| panic!("{faults}"));
    let BrokerSettings::Rabbitmq(place) = &settings.broker else { panic!("there is no RabbitMQ") };
    let connection = lapin::Connection::connect(&variable("PUNTE_TEST_AMQP_URL"), Default::default()).await.unwrap();
    (Names::new(&place.prefix).unwrap(), connection.create_channel().await.unwrap())
}

/// Takes the one message of an agency's queue, changes it, and puts it back.
async fn rewrite(channel: &Channel, names: &Names, agency: &str, change: impl Fn(&mut Value)) {
    let agency: AgencyName = agency.parse().unwrap();
    let queue = names.work_queue(&agency, Priority::Ordinary);
    let begun = Instant::now();
    let message = loop {
        match channel.basic_get(queue.clone(), BasicGetOptions { no_ack: true }).await.unwrap() {
            Some(message) => break message,
            None => assert!(begun.elapsed() < PATIENCE, "nothing is in {queue}"),
        }
        sleep(Duration::from_millis(50)).await;
    };
    let mut body: Value = serde_json::from_slice(&message.data).unwrap();
    change(&mut body);
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let key = work_key(&agency, Priority::Ordinary).into();
    channel.basic_publish(names.work_exchange(), key, options, body.to_string().as_bytes(), properties).await.unwrap();
}
