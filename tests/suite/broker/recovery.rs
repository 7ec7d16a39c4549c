//! RabbitMQ that is away, dies, or runs out of memory: everything goes on when it is back, and nothing confirmed is lost.

use super::{fixture::*, private::PrivateNode};
use punte::broker::{Broker, BrokerError, BrokerHealth, rabbitmq::RabbitmqBroker};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_down_at_start_is_used_as_soon_as_it_is_there() {
    let node = PrivateNode::down().await;
    let broker = RabbitmqBroker::start(node.settings()).unwrap();
    let begun = Instant::now();
    assert!(is_unavailable(&broker.declare(&[ours()]).await));
    assert!(is_unavailable(&broker.publish(&[item(&ours())]).await.remove(0)));
    assert!(matches!(broker.health(), BrokerHealth::Disconnected(_)));
    let mut deliveries = broker.consume(&ours(), 1).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "something waited for the broker");
    node.start().await;
    connected(&broker).await;
    // What was declared in vain has been made meanwhile.
    let sent = item(&ours());
    publish(&broker, std::slice::from_ref(&sent)).await;
    assert_eq!(next_acked(&mut deliveries).await, sent);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_lost_when_the_broker_is_killed_and_started_again() {
    const COUNT: usize = 3_000;
    let node = PrivateNode::started().await;
    let broker = Arc::new(RabbitmqBroker::start(node.settings()).unwrap());
    connected(&*broker).await;
    broker.declare(&[ours()]).await.unwrap();
    let mut deliveries = broker.consume(&ours(), 50).await.unwrap();
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let consuming = tokio::spawn({
        let seen = seen.clone();
        async move {
            while let Some(delivery) = deliveries.ordinary.recv().await {
                seen.lock().unwrap().insert(delivery.item.unwrap().submission);
                // An error: the broker has died meanwhile, and delivers it again.
                let _ = delivery.settle.ack().await;
            }
        }
    });
    let publishing = tokio::spawn({
        let broker = broker.clone();
        async move {
            let mut left = items(&ours(), COUNT);
            let mut failures = 0;
            while !left.is_empty() {
                let batch: Vec<_> = left.drain(..left.len().min(100)).collect();
                for (item, result) in batch.iter().zip(broker.publish(&batch).await) {
                    if result.is_err() {
                        failures += 1;
                        left.push(item.clone());
                    }
                }
                sleep(Duration::from_millis(20)).await;
            }
            failures
        }
    });
    eventually("some arrive", || async { seen.lock().unwrap().len() > 200 }).await;
    node.kill().await;
    eventually("noticed", || async { matches!(broker.health(), BrokerHealth::Disconnected(_)) }).await;
    node.start().await;
    let failures = timeout(2 * PATIENCE, publishing).await.expect("publishing never recovered").unwrap();
    assert!(failures > 0, "the kill was not felt");
    eventually("all arrive", || async { seen.lock().unwrap().len() == COUNT }).await;
    assert_eq!(broker.dead_letter_count(&ours()).await.unwrap(), 0);
    // Announcements flow again, too.
    connected(&*broker).await;
    let mut announcements = broker.announcements();
    broker.announce(&announcement()).await.unwrap();
    timeout(PATIENCE, announcements.recv()).await.unwrap().unwrap();
    broker.close().await;
    timeout(PATIENCE, consuming).await.expect("the deliveries go on after close").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_that_a_broker_has_lost_are_there_again_after_it_restarts() {
    let node = PrivateNode::started().await;
    let broker = RabbitmqBroker::start(node.settings()).unwrap();
    connected(&broker).await;
    broker.declare(&[ours(), theirs()]).await.unwrap();
    let mut deliveries = broker.consume(&ours(), 1).await.unwrap();
    node.ctl(&["stop_app"]).await;
    node.ctl(&["force_reset"]).await;
    node.ctl(&["start_app"]).await;
    connected(&broker).await;
    let sent = item(&ours());
    eventually("published", || async { broker.publish(std::slice::from_ref(&sent)).await[0].is_ok() }).await;
    assert_eq!(next_acked(&mut deliveries).await, sent);
    publish(&broker, &[item(&theirs())]).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_alarm_is_seen_costs_no_message_and_does_not_stop_consumers() {
    let node = PrivateNode::started().await;
    let broker = RabbitmqBroker::start(node.settings()).unwrap();
    connected(&broker).await;
    broker.declare(&[ours()]).await.unwrap();
    publish(&broker, &items(&ours(), 3)).await;
    node.ctl(&["set_vm_memory_high_watermark", "0"]).await;
    // The broker stops reading at the next publish, so that one is not confirmed; after that we know.
    let unlucky = item(&ours());
    eventually("an unconfirmed publish", || async {
        matches!(broker.publish(std::slice::from_ref(&unlucky)).await[0], Err(BrokerError::NotConfirmed))
    })
    .await;
    assert!(matches!(broker.health(), BrokerHealth::Blocked(_)), "{:?}", broker.health());
    let begun = Instant::now();
    assert!(is_unavailable(&broker.publish(&items(&ours(), 3)).await.remove(2)));
    assert!(begun.elapsed() < Duration::from_secs(1), "publish waited although the alarm is known");
    let mut deliveries = broker.consume(&ours(), 1).await.unwrap();
    for _ in 0..3 {
        next_acked(&mut deliveries).await;
    }
    node.ctl(&["set_vm_memory_high_watermark", "0.6"]).await;
    connected(&broker).await;
    let after = item(&ours());
    publish(&broker, std::slice::from_ref(&after)).await;
    let mut seen = HashSet::new();
    while !seen.contains(&after.submission) {
        seen.insert(next_acked(&mut deliveries).await.submission);
    }
    broker.close().await;
    assert!(node.raw().await.status().connected());
}
