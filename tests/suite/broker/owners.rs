//! Two installations with one prefix: the second is refused, and a message of another journal goes back as it was.

use super::fixture::*;
use lapin::{
    BasicProperties,
    options::{BasicGetOptions, BasicNackOptions, BasicPublishOptions},
    types::{AMQPValue, FieldTable},
};
use punte::{
    broker::{
        Broker, BrokerError,
        rabbitmq::{RabbitmqBroker, RabbitmqSettings, names::Names, names::work_key, take_over},
    },
    domain::{Mark, Priority},
};
use std::time::Duration;
use tokio::time::{sleep, timeout};

fn of(journal: &str, settings: &RabbitmqSettings) -> RabbitmqSettings {
    RabbitmqSettings { identity: Some(journal.into()), ..settings.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_belongs_to_one_journal_until_it_is_taken_over() {
    // As long as a prefix may be: RabbitMQ's sentence is cut before it comes to the other's name.
    let prefix = format!("{}-{}", settings().prefix, "x".repeat(26));
    let settings = RabbitmqSettings { prefix, ..settings() };
    let second = of("5f2e", &settings);
    Fixture::with(of("41ca", &settings))
        .await
        .play(|first| async move {
            first.declare(&[ours()]).await.unwrap();
            publish(&*first, &items(&ours(), 3)).await;
            first.mark().await.unwrap();
            let mark = Mark { journal: "41ca".into(), at: jiff::Timestamp::now() };
            first.keep_mark(&mark).await.unwrap();
            // Another process of the same installation.
            let sibling = RabbitmqBroker::start(of("41ca", &settings)).unwrap();
            connected(&sibling).await;
            sibling.close().await;

            let stranger = RabbitmqBroker::start(second.clone()).unwrap();
            let told = disconnected(&stranger, "another installation uses this prefix").await;
            assert!(told.contains("5f2e") && told.contains("broker.prefix"), "{told}");
            let foreign = |error: &BrokerError| matches!(error, BrokerError::Foreign { .. });
            assert!(foreign(&stranger.declare(&[ours()]).await.unwrap_err()));
            assert!(foreign(stranger.publish(&[item(&ours())]).await[0].as_ref().unwrap_err()));
            stranger.close().await;
            ready_is(&*first, &ours(), 3).await;
            first.close().await;

            assert_eq!(take_over(second.clone(), &[ours(), theirs()]).await.unwrap(), 3);
            let heir = RabbitmqBroker::start(second).unwrap();
            connected(&heir).await;
            assert_eq!(heir.mark().await.unwrap(), None, "the other journal's mark measures ours");
            let mut deliveries = heir.consume(&ours(), 1).await.unwrap();
            let sent = item(&ours());
            publish(&heir, std::slice::from_ref(&sent)).await;
            assert_eq!(next_acked(&mut deliveries).await, sent);
            heir.close().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_prefix_is_named() {
    let prefix = format!("t{:08x}", rand::random::<u32>());
    let settings = RabbitmqSettings { prefix, ..settings() };
    let second = of("5f2e", &settings);
    Fixture::with(of("41ca", &settings))
        .await
        .play(|_| async move {
            let stranger = RabbitmqBroker::start(second).unwrap();
            disconnected(&stranger, "belongs to the journal 41ca").await;
            stranger.close().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_journals_message_goes_back_as_it_was_and_its_owner_gets_it() {
    let settings = settings();
    let names = Names::new(&settings.prefix).unwrap();
    Fixture::with(of("41ca", &settings))
        .await
        .play(|broker| async move {
            broker.declare(&[ours()]).await.unwrap();
            let channel = raw(&settings.uri).await.create_channel().await.unwrap();
            let foreign = item(&ours()).to_bytes();
            let mut headers = FieldTable::default();
            headers.insert("punte-journal".into(), AMQPValue::LongString("5f2e".into()));
            let properties = BasicProperties::default().with_headers(headers);
            let (exchange, key) = (names.work_exchange(), work_key(&ours(), Priority::Ordinary));
            let options = BasicPublishOptions::default();
            channel.basic_publish(exchange, key.into(), options, &foreign, properties).await.unwrap();

            let mut deliveries = broker.consume(&ours(), 1).await.unwrap();
            let told = degraded(&*broker, "another installation uses this prefix").await;
            assert!(told.contains("5f2e"), "{told}");
            // Whoever it belongs to takes it as it was.
            let queue = names.work_queue(&ours(), Priority::Ordinary);
            let taken = timeout(PATIENCE, async {
                loop {
                    match channel.basic_get(queue.clone(), BasicGetOptions::default()).await.unwrap() {
                        Some(message) => break message,
                        None => sleep(Duration::from_millis(20)).await,
                    }
                }
            })
            .await
            .expect("it does not come back");
            assert_eq!(taken.data, foreign);
            // Ours still come.
            let sent = item(&ours());
            publish(&*broker, std::slice::from_ref(&sent)).await;
            assert_eq!(next_acked(&mut deliveries).await, sent);
            connected(&*broker).await;
            taken.acker.nack(BasicNackOptions { multiple: false, requeue: false }).await.unwrap();
            nothing(&mut deliveries.ordinary).await;
        })
        .await;
}
