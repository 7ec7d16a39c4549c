//! What is in RabbitMQ already and not as Punte would make it: it is used as it is, and where it cannot be, one agency waits.

use super::fixture::*;
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use punte::{
    broker::{
        Broker, BrokerError, BrokerHealth,
        rabbitmq::{RabbitmqBroker, RabbitmqSettings, names::Names},
    },
    domain::Priority,
};
use std::sync::Mutex;

async fn channel() -> Channel {
    raw(&environment("PUNTE_TEST_AMQP_URL")).await.create_channel().await.unwrap()
}

async fn make_queue(name: ShortString, durable: bool, arguments: &[(&str, AMQPValue)]) {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert((*key).into(), value.clone());
    }
    let options = QueueDeclareOptions { durable, ..Default::default() };
    channel().await.queue_declare(name, options, table).await.unwrap();
}

async fn make_exchange(name: ShortString, kind: ExchangeKind, durable: bool) {
    let options = ExchangeDeclareOptions { durable, ..Default::default() };
    channel().await.exchange_declare(name, kind, options, FieldTable::default()).await.unwrap();
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Urgent and ordinary work passes, and what is rejected is not delivered again.
async fn work_flows(broker: &dyn Broker) {
    broker.declare(&[ours()]).await.unwrap();
    let mut deliveries = broker.consume(&ours(), 2).await.unwrap();
    let (first, second, rejected) = (item(&ours()), urgent(&ours()), item(&ours()));
    publish(broker, &[first.clone(), second.clone()]).await;
    assert_eq!(next_acked(&mut deliveries).await, first);
    let delivery = next(&mut deliveries.urgent).await;
    assert_eq!(delivery.item, Ok(second));
    delivery.settle.ack().await.unwrap();
    publish(broker, std::slice::from_ref(&rejected)).await;
    next(&mut deliveries.ordinary).await.settle.reject().await.unwrap();
    nothing(&mut deliveries.ordinary).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_limit_that_was_changed_stops_nobody() {
    let settings = settings();
    let before = RabbitmqBroker::start(settings.clone()).unwrap();
    connected(&before).await;
    before.declare(&[ours(), theirs()]).await.unwrap();
    Fixture::with(RabbitmqSettings { delivery_limit: 9, ..settings })
        .await
        .play(|after| async move {
            work_flows(&*after).await;
            dead_letters_are(&*after, &ours(), 1).await;
            assert_eq!(after.health(), BrokerHealth::Connected);
            // The processes of both releases share the work.
            work_flows(&before).await;
            before.close().await;
        })
        .await;
}

/// On one thread, so that the test's own log hears everything.
#[tokio::test]
async fn a_delivery_limit_that_was_changed_is_warned_of_once_a_queue_with_its_key_and_both_values() {
    let settings = settings();
    let before = RabbitmqBroker::start(settings.clone()).unwrap();
    connected(&before).await;
    before.declare(&[ours()]).await.unwrap();
    before.close().await;
    let lines = tempfile::NamedTempFile::new().unwrap();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(Mutex::new(lines.reopen().unwrap())).finish();
    let _guard = tracing::subscriber::set_default(log);
    let queue = Names::new(&settings.prefix).unwrap().work_queue(&ours(), Priority::Ordinary).to_string();
    Fixture::with(RabbitmqSettings { delivery_limit: 9, ..settings })
        .await
        .play(|after| async move {
            for _ in 0..3 {
                after.declare(&[ours()]).await.unwrap();
            }
            work_flows(&*after).await;
        })
        .await;
    let log = std::fs::read_to_string(lines.path()).unwrap();
    let is_told = |line: &&str| line.contains(" WARN ") && line.contains(&format!("thing=\"{queue}\""));
    let told: Vec<_> = log.lines().filter(is_told).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("`x-delivery-limit` is 5 there and 9 here (broker.delivery_limit)"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_of_any_make_but_a_stream_carry_the_work() {
    let settings = settings();
    let names = Names::new(&settings.prefix).unwrap();
    make_queue(names.work_queue(&ours(), Priority::Ordinary), true, &[]).await;
    let elsewhere = [
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text("amq.fanout")),
        ("x-max-length", AMQPValue::LongLongInt(9)),
    ];
    make_queue(names.work_queue(&ours(), Priority::Urgent), true, &elsewhere).await;
    make_queue(names.dead_queue(&ours()), false, &[]).await;
    Fixture::with(settings)
        .await
        .play(|broker| async move {
            work_flows(&*broker).await;
            assert_eq!(broker.health(), BrokerHealth::Connected);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_of_another_type_are_used_if_they_carry_the_work() {
    let settings = settings();
    let names = Names::new(&settings.prefix).unwrap();
    make_exchange(names.work_exchange(), ExchangeKind::Topic, false).await;
    make_exchange(names.dead_exchange(), ExchangeKind::Fanout, true).await;
    make_exchange(names.events_exchange(), ExchangeKind::Direct, true).await;
    Fixture::with(settings)
        .await
        .play(|broker| async move {
            work_flows(&*broker).await;
            assert_eq!(broker.health(), BrokerHealth::Connected);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_carry_no_work_is_named_and_keeps_no_other_agency_waiting() {
    let settings = settings();
    let names = Names::new(&settings.prefix).unwrap();
    let wrong = names.work_queue(&ours(), Priority::Urgent);
    make_queue(wrong.clone(), true, &[("x-queue-type", text("stream"))]).await;
    Fixture::with(settings)
        .await
        .play(|broker| async move {
            let said = broker.declare(&[ours(), theirs()]).await.unwrap_err();
            assert!(matches!(&said, BrokerError::Topology(text) if text.contains(wrong.as_str())), "{said}");
            let told = degraded(&*broker, "stream").await;
            assert!(told.contains(wrong.as_str()) && !told.contains("delete"), "{told}");
            let mut deliveries = broker.consume(&theirs(), 1).await.unwrap();
            publish(&*broker, &[item(&theirs())]).await;
            next_acked(&mut deliveries).await;
            channel().await.queue_delete(wrong, Default::default()).await.unwrap();
            broker.declare(&[ours()]).await.unwrap();
            connected(&*broker).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_for_work_that_goes_by_no_keys_is_refused() {
    let settings = settings();
    let names = Names::new(&settings.prefix).unwrap();
    make_exchange(names.work_exchange(), ExchangeKind::Fanout, true).await;
    let (uri, broker) = (settings.uri.clone(), RabbitmqBroker::start(settings).unwrap());
    let told = degraded(&broker, "fanout").await;
    assert!(told.contains(names.work_exchange().as_str()) && told.contains("broker.prefix"), "{told}");
    assert!(matches!(broker.declare(&[ours()]).await, Err(BrokerError::Topology(_))));
    broker.close().await;
    remove(&uri, &names).await;
}
