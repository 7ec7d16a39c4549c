//! A rolling upgrade: new processes join while old ones drain, under load; messages of two releases lie side by side.

use crate::harness::{PATIENCE, ProcessCluster, clients::SERVICES, shared, variable};
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
async fn joins(cluster: &mut ProcessCluster, roles: &[&'static str]) -> usize {
    let number = cluster.add(roles);
    cluster.start(number);
    is_open(cluster, number).await;
    number
}

/// Whoever is not up yet refuses connections.
async fn is_open(cluster: &ProcessCluster, number: usize) {
    let begun = Instant::now();
    if let Some(port) = cluster.processes[number].gateway_port {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "{:?} never came up", cluster.processes[number].roles);
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Is told to end, and ends in order.
async fn drains(cluster: &mut ProcessCluster, number: usize) {
    cluster.signal(number, "TERM");
    let status = cluster.processes[number].end(Duration::from_secs(60)).await;
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", cluster.processes[number].last_words());
    cluster.figures.fault("process replaced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_are_replaced_one_after_the_other_and_offices_notice_nothing() {
    let processes: [&[&str]; 5] = [&["gateway"], &["gateway"], &["worker"], &["scheduler"], &["notifier"]];
    let mut cluster = ProcessCluster::build(&processes, shared).await;
    for number in 0..processes.len() {
        is_open(&cluster, number).await;
    }
    cluster.post("person-lookup").await;
    cluster.post("person-lookup").await;
    let gateways = cluster.office.gateways.clone();
    let refused = || (gateways.server_errors(), gateways.unanswered());
    let before = refused();
    let clients = cluster.open_load_clients(4, Duration::from_millis(5));
    let mut ports: Vec<_> = cluster.processes.iter().filter_map(|it| it.gateway_port).collect();
    cluster.behave(&json!({"delay_ms": 200}));
    for (old, roles) in processes.iter().enumerate() {
        let new = joins(&mut cluster, roles).await;
        if let (Some(old), Some(new)) = (cluster.processes[old].gateway_port, cluster.processes[new].gateway_port) {
            ports.retain(|port| *port != old);
            ports.push(new);
            gateways.are(ports.clone());
        }
        sleep(Duration::from_millis(300)).await;
        drains(&mut cluster, old).await;
    }
    clients.close().await;
    // Nobody is sent to a gateway that is about to go, so that not even a refused connection has an excuse.
    assert_eq!(refused(), before, "an office met a server error, or was not answered");
    let figures = cluster.audit().await;
    assert_eq!(figures.ends["completed"], figures.submissions, "somebody was interrupted: {figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_a_newer_release_is_understood_or_set_aside_and_replaced() {
    let processes: [&[&str]; 2] = [&["gateway", "scheduler", "notifier"], &["worker"]];
    let mut cluster = ProcessCluster::empty(&processes, shared, |_, text| text).await;
    cluster.start(0);
    let (extended, other) = (cluster.post("civil-status-extract").await, cluster.post("certified-extract").await);
    for id in [&extended, &other] {
        cluster.until(id, &["queued"]).await;
    }
    let (names, channel) = amqp(&cluster).await;
    let dead = names.dead_queue(&"once-registry".parse().unwrap());
    rewrite(&channel, &names, "civil-registry", of_the_next).await;
    rewrite(&channel, &names, "once-registry", of_another_version).await;
    cluster.start(1);
    let shown = cluster.until(&extended, &["completed"]).await;
    assert_eq!(shown["attempts"], 1, "{shown:#}");
    let shown = cluster.until(&other, &["completed"]).await;
    let timeline = shown["timeline"].as_array().unwrap();
    assert!(timeline.iter().any(|change| change["cause"] == "requeued"), "{shown:#}");
    cluster.explained.insert(dead.to_string(), 1);
    cluster.figures.fault("message of a newer release");
    cluster.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_older_and_newer_releases_lie_side_by_side_while_offices_post() {
    let processes: [&[&str]; 2] = [&["gateway", "scheduler", "notifier"], &["worker"]];
    let releases: [fn(Value) -> String; 4] = [of_the_first, of_this, of_the_next, of_another_version];
    // A busy machine must not look like a slow agency.
    let patient = |_: &str, text: String| text.replace("timeout_secs = 3\n", "timeout_secs = 20\n");
    let mut cluster = ProcessCluster::empty(&processes, shared, patient).await;
    cluster.start(0);
    // An agency has its queue once a submission to it is queued.
    for service in SERVICES {
        let first = cluster.post(service).await;
        cluster.until(&first, &["queued"]).await;
    }
    let clients = cluster.open_load_clients(2, Duration::from_millis(20));
    let (names, channel) = amqp(&cluster).await;
    for agency in ["civil-registry", "legal-events", "once-registry"] {
        let mut messages = Vec::new();
        for _ in releases {
            messages.push(take(&channel, &names, agency).await);
        }
        for (message, written) in messages.into_iter().zip(releases) {
            put(&channel, &names, agency, &written(message)).await;
        }
        cluster.explained.insert(names.dead_queue(&agency.parse().unwrap()).to_string(), 1);
    }
    cluster.start(1);
    sleep(Duration::from_secs(1)).await;
    clients.close().await;
    cluster.figures.fault("messages of older and newer releases");
    let figures = cluster.audit().await;
    assert_eq!(figures.ends["completed"], figures.submissions, "{figures:?}");
    let set_aside = figures.faults.get("message left among the dead letters");
    assert_eq!(set_aside, Some(&3), "only the other version is set aside: {figures:?}");
}

/// Letter by letter as version 1 is written, and not as today's types would: no version has been before it. Whoever changes
/// the messages leaves this one as it is.
fn of_the_first(message: Value) -> String {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (submission, agency) = (&message["submission"], &message["agency"]);
    format!(r#"{{"version":1,"submission":{submission},"agency":{agency},"priority":"ordinary","trace":"{TRACE}"}}"#)
}

fn of_this(message: Value) -> String {
    message.to_string()
}

/// It has one more member, and the same version.
fn of_the_next(mut message: Value) -> String {
    message["route"] = "express".into();
    message.to_string()
}

fn of_another_version(mut message: Value) -> String {
    message["version"] = 2.into();
    message.to_string()
}

async fn amqp(cluster: &ProcessCluster) -> (Names, Channel) {
    let settings = Settings::load(&cluster.stack.config()).unwrap_or_else(|faults| panic!("{faults}"));
    let BrokerSettings::Rabbitmq(place) = &settings.broker else { panic!("there is no RabbitMQ") };
    let connection = lapin::Connection::connect(&variable("PUNTE_TEST_AMQP_URL"), Default::default()).await.unwrap();
    (Names::new(&place.prefix).unwrap(), connection.create_channel().await.unwrap())
}

/// Takes the one message of an agency's queue, and puts it back as another release writes it.
async fn rewrite(channel: &Channel, names: &Names, agency: &str, written: fn(Value) -> String) {
    let message = take(channel, names, agency).await;
    put(channel, names, agency, &written(message)).await;
}

async fn take(channel: &Channel, names: &Names, agency: &str) -> Value {
    let queue = names.work_queue(&agency.parse::<AgencyName>().unwrap(), Priority::Ordinary);
    let begun = Instant::now();
    loop {
        match channel.basic_get(queue.clone(), BasicGetOptions { no_ack: true }).await.unwrap() {
            Some(message) => return serde_json::from_slice(&message.data).unwrap(),
            None => assert!(begun.elapsed() < PATIENCE, "nothing is in {queue}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn put(channel: &Channel, names: &Names, agency: &str, text: &str) {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let key = work_key(&agency.parse::<AgencyName>().unwrap(), Priority::Ordinary).into();
    channel.basic_publish(names.work_exchange(), key, options, text.as_bytes(), properties).await.unwrap();
}
