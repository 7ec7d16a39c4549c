//! The copy of the journal's mark in RabbitMQ: the newest alone, for whoever asks.

use super::fixture::*;
use jiff::Timestamp;
use lapin::{BasicProperties, options::BasicPublishOptions};
use punte::{
    broker::{
        Broker,
        rabbitmq::names::{MARK_KEY, Names},
    },
    domain::Mark,
};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_mark_is_kept_and_can_be_read_again_and_again() {
    Fixture::rabbitmq(5).await.play(kept).await;
}

async fn kept(broker: Arc<dyn Broker>) {
    assert!(broker.keeps_marks());
    assert_eq!(broker.mark().await.unwrap(), None);
    let mark = |second| Mark { journal: "a".into(), at: Timestamp::from_second(second).unwrap() };
    for second in 1..4 {
        broker.keep_mark(&mark(second)).await.unwrap();
    }
    for _ in 0..25 {
        assert_eq!(broker.mark().await.unwrap(), Some(mark(3)));
    }
    let (one, other) = tokio::join!(broker.mark(), broker.mark());
    assert_eq!((one.unwrap(), other.unwrap()), (Some(mark(3)), Some(mark(3))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_in_the_marks_queue_and_is_no_mark_is_not_taken_for_none() {
    let settings = settings();
    let names = Names::new(&settings.prefix).unwrap();
    Fixture::with(settings.clone())
        .await
        .play(|broker| async move {
            assert_eq!(broker.mark().await.unwrap(), None);
            let channel = raw(&settings.uri).await.create_channel().await.unwrap();
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            channel.basic_publish(names.work_exchange(), MARK_KEY.into(), options, b"half", properties).await.unwrap();
            eventually("it is told", || async { broker.mark().await.is_err() }).await;
            let told = broker.mark().await.unwrap_err().to_string();
            assert!(told.contains("is no mark"), "{told}");
            // The next mark takes its place.
            let mark = Mark { journal: "a".into(), at: Timestamp::from_second(1).unwrap() };
            broker.keep_mark(&mark).await.unwrap();
            assert_eq!(broker.mark().await.unwrap(), Some(mark));
        })
        .await;
}
