//! The copy of the journal's mark in RabbitMQ: the newest alone, for whoever asks.

use super::stage::*;
use jiff::Timestamp;
use punte::{broker::Broker, domain::Mark};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_mark_is_kept_and_can_be_read_again_and_again() {
    Stage::rabbitmq(5).await.play(kept).await;
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
