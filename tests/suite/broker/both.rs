//! The contract of `Broker`, played on the embedded broker and on RabbitMQ.

use super::fixture::*;
use punte::broker::{Broker, BrokerError, BrokerHealth, QueueDepth};
use std::{collections::HashSet, sync::Arc};
use tokio::time::timeout;

const DELIVERY_LIMIT: u32 = 2;

type Tested = Arc<dyn Broker>;

macro_rules! on_both_brokers {
    ($($test:ident)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::Fixture::embedded(super::DELIVERY_LIMIT).await.play(super::$test).await;
            })*
        }
        mod rabbitmq {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::Fixture::rabbitmq(super::DELIVERY_LIMIT).await.play(super::$test).await;
            })*
        }
    };
}

on_both_brokers! {
    what_is_published_is_delivered_once_and_gone_after_its_ack
    results_come_in_the_order_of_the_items
    no_more_than_the_prefetch_is_in_a_workers_hands
    an_unsettled_delivery_that_is_dropped_comes_back_and_is_counted
    a_rejected_message_becomes_a_dead_letter
    a_message_that_stops_its_worker_again_and_again_becomes_a_dead_letter
    urgent_work_overtakes_ordinary_work_of_the_same_agency
    two_agencies_do_not_disturb_each_other
    two_consumers_of_one_agency_share_its_work
    announcements_reach_every_subscriber
    the_depth_counts_what_waits_and_who_consumes
    dropped_deliveries_end_the_consumers_and_give_everything_back
    a_receiver_that_is_closed_can_be_drained_without_loss
    deliveries_begin_although_nobody_declared_before
    declaring_again_changes_nothing
    nothing_can_be_done_after_close
}

async fn what_is_published_is_delivered_once_and_gone_after_its_ack(broker: Tested) {
    broker.declare(&[ours()]).await.unwrap();
    let sent = items(&ours(), 20);
    publish(&*broker, &sent).await;
    let mut deliveries = broker.consume(&ours(), 4).await.unwrap();
    for expected in &sent {
        let delivery = next(&mut deliveries.ordinary).await;
        assert_eq!(delivery.redeliveries, 0);
        assert_eq!(delivery.item.as_ref(), Ok(expected));
        delivery.settle.ack().await.unwrap();
    }
    nothing(&mut deliveries.ordinary).await;
    drop(deliveries);
    eventually("no consumers", || async { broker.depth(&ours()).await.is_ok_and(|it| it == QueueDepth::default()) })
        .await;
    assert_eq!(broker.dead_letter_count(&ours()).await.unwrap(), 0);
}

async fn results_come_in_the_order_of_the_items(broker: Tested) {
    broker.declare(&[ours()]).await.unwrap();
    let sent: Vec<_> = (0..600).map(|n| if n % 3 == 0 { item(&theirs()) } else { item(&ours()) }).collect();
    let results = broker.publish(&sent).await;
    assert_eq!(results.len(), sent.len());
    for (n, (sent, result)) in sent.iter().zip(results).enumerate() {
        match result {
            Ok(()) => assert_eq!(sent.agency, ours(), "{n}"),
            Err(BrokerError::Unroutable(agency)) => assert_eq!((agency, &sent.agency), (theirs(), &theirs()), "{n}"),
            Err(other) => panic!("{n}: {other}"),
        }
    }
    ready_is(&*broker, &ours(), 400).await;
    assert!(broker.publish(&[]).await.is_empty());
}

async fn no_more_than_the_prefetch_is_in_a_workers_hands(broker: Tested) {
    broker.declare(&[ours()]).await.unwrap();
    publish(&*broker, &items(&ours(), 10)).await;
    let mut deliveries = broker.consume(&ours(), 3).await.unwrap();
    let mut in_hand = Vec::new();
    for _ in 0..3 {
        in_hand.push(next(&mut deliveries.ordinary).await);
    }
    nothing(&mut deliveries.ordinary).await;
    ready_is(&*broker, &ours(), 7).await;
    in_hand.pop().unwrap().settle.ack().await.unwrap();
    in_hand.push(next(&mut deliveries.ordinary).await);
    nothing(&mut deliveries.ordinary).await;
}

async fn an_unsettled_delivery_that_is_dropped_comes_back_and_is_counted(broker: Tested) {
    broker.declare(&[ours()]).await.unwrap();
    let sent = item(&ours());
    publish(&*broker, std::slice::from_ref(&sent)).await;
    let mut deliveries = broker.consume(&ours(), 1).await.unwrap();
    drop(next(&mut deliveries.ordinary).await);
    let again = next(&mut deliveries.ordinary).await;
    assert_eq!((again.redeliveries, again.item), (1, Ok(sent.clone())));
    drop(again.settle);
    let again = next(&mut deliveries.ordinary).await;
    assert_eq!((again.redeliveries, again.item), (2, Ok(sent)));
    again.settle.ack().await.unwrap();
    nothing(&mut deliveries.ordinary).await;
}

async fn a_rejected_message_becomes_a_dead_letter(broker: Tested) {
    broker.declare(&[ours(), theirs()]).await.unwrap();
    publish(&*broker, &[item(&ours()), urgent(&ours())]).await;
    let mut deliveries = broker.consume(&ours(), 1).await.unwrap();
    next(&mut deliveries.ordinary).await.settle.reject().await.unwrap();
    next(&mut deliveries.urgent).await.settle.reject().await.unwrap();
    dead_letters_are(&*broker, &ours(), 2).await;
    assert_eq!(broker.dead_letter_count(&theirs()).await.unwrap(), 0);
    nothing(&mut deliveries.ordinary).await;
    nothing(&mut deliveries.urgent).await;
}

async fn a_message_that_stops_its_worker_again_and_again_becomes_a_dead_letter(broker: Tested) {
    broker.declare(&[ours()]).await.unwrap();
    let (killer, harmless) = (item(&ours()), item(&ours()));
    publish(&*broker, &[killer.clone(), harmless.clone()]).await;
    let mut deliveries = broker.consume(&ours(), 1).await.unwrap();
    let mut kills = 0;
    let survivor = loop {
        let delivery = next(&mut deliveries.ordinary).await;
        if delivery.item.as_ref() != Ok(&killer) {
            break delivery;
        }
        assert_eq!(delivery.redeliveries, kills);
        kills += 1;
        drop(delivery);
        if kills > DELIVERY_LIMIT {
            dead_letters_are(&*broker, &ours(), 1).await;
        }
    };
    assert_eq!(kills, DELIVERY_LIMIT + 1);
    assert_eq!(survivor.item, Ok(harmless));
    survivor.settle.ack().await.unwrap();
    dead_letters_are(&*broker, &ours(), 1).await;
}

async fn urgent_work_overtakes_ordinary_work_of_the_same_agency(broker: Tested) {
    broker.declare(&[ours()]).await.unwrap();
    publish(&*broker, &items(&ours(), 5)).await;
    let first = urgent(&ours());
    publish(&*broker, std::slice::from_ref(&first)).await;
    let mut deliveries = broker.consume(&ours(), 2).await.unwrap();
    let delivery = next(&mut deliveries.urgent).await;
    assert_eq!(delivery.item, Ok(first));
    delivery.settle.ack().await.unwrap();
    nothing(&mut deliveries.urgent).await;
    for _ in 0..5 {
        next_acked(&mut deliveries).await;
    }
}

async fn two_agencies_do_not_disturb_each_other(broker: Tested) {
    broker.declare(&[ours(), theirs()]).await.unwrap();
    publish(&*broker, &items(&theirs(), 50)).await;
    let mut stuck = broker.consume(&theirs(), 1).await.unwrap();
    let _never_settled = next(&mut stuck.ordinary).await;
    let sent = items(&ours(), 50);
    publish(&*broker, &sent).await;
    let mut deliveries = broker.consume(&ours(), 8).await.unwrap();
    for expected in sent {
        assert_eq!(next_acked(&mut deliveries).await, expected);
    }
    ready_is(&*broker, &theirs(), 49).await;
}

async fn two_consumers_of_one_agency_share_its_work(broker: Tested) {
    broker.declare(&[ours()]).await.unwrap();
    let mut first = broker.consume(&ours(), 1).await.unwrap();
    let mut second = broker.consume(&ours(), 1).await.unwrap();
    eventually("both consume", || async { broker.depth(&ours()).await.is_ok_and(|it| it.consumers == 4) }).await;
    let sent = items(&ours(), 10);
    publish(&*broker, &sent).await;
    // Each has one in hand, so the work is shared; who gets the rest is the broker's choice.
    let in_hand = [next(&mut first.ordinary).await, next(&mut second.ordinary).await];
    let mut seen = HashSet::new();
    for delivery in in_hand {
        delivery.settle.ack().await.unwrap();
        assert!(seen.insert(delivery.item.unwrap().submission));
    }
    while seen.len() < sent.len() {
        let delivery = tokio::select! {
            delivery = next(&mut first.ordinary) => delivery,
            delivery = next(&mut second.ordinary) => delivery,
        };
        delivery.settle.ack().await.unwrap();
        assert!(seen.insert(delivery.item.unwrap().submission), "delivered twice");
    }
    assert_eq!(seen, sent.iter().map(|item| item.submission).collect());
}

async fn announcements_reach_every_subscriber(broker: Tested) {
    let (mut first, mut second) = (broker.announcements(), broker.announcements());
    let told = announcement();
    broker.announce(&told).await.unwrap();
    for subscriber in [&mut first, &mut second] {
        assert_eq!(timeout(PATIENCE, subscriber.recv()).await.unwrap().unwrap(), told);
    }
    let mut late = broker.announcements();
    assert!(late.try_recv().is_err());
}

async fn the_depth_counts_what_waits_and_who_consumes(broker: Tested) {
    assert!(matches!(broker.depth(&ours()).await, Err(BrokerError::Unroutable(agency)) if agency == ours()));
    broker.declare(&[ours()]).await.unwrap();
    assert_eq!(broker.depth(&ours()).await.unwrap(), QueueDepth::default());
    publish(&*broker, &items(&ours(), 3)).await;
    publish(&*broker, &[urgent(&ours())]).await;
    ready_is(&*broker, &ours(), 4).await;
    let mut deliveries = broker.consume(&ours(), 2).await.unwrap();
    let in_hand = next(&mut deliveries.urgent).await;
    let expected = QueueDepth { ready: 1, consumers: 2 };
    eventually("one waits", || async { broker.depth(&ours()).await.is_ok_and(|depth| depth == expected) }).await;
    in_hand.settle.ack().await.unwrap();
}

async fn dropped_deliveries_end_the_consumers_and_give_everything_back(broker: Tested) {
    broker.declare(&[ours()]).await.unwrap();
    publish(&*broker, &items(&ours(), 10)).await;
    let mut deliveries = broker.consume(&ours(), 4).await.unwrap();
    let in_hand = next(&mut deliveries.ordinary).await;
    drop(deliveries);
    // RabbitMQ counts an ended consumer until the last message in its hands is settled.
    ready_is(&*broker, &ours(), 9).await;
    in_hand.settle.ack().await.unwrap();
    let nine = QueueDepth { ready: 9, consumers: 0 };
    eventually("nine are back", || async { broker.depth(&ours()).await.is_ok_and(|depth| depth == nine) }).await;
    let mut deliveries = broker.consume(&ours(), 4).await.unwrap();
    for _ in 0..9 {
        next_acked(&mut deliveries).await;
    }
    nothing(&mut deliveries.ordinary).await;
}

async fn a_receiver_that_is_closed_can_be_drained_without_loss(broker: Tested) {
    broker.declare(&[ours()]).await.unwrap();
    let sent = items(&ours(), 30);
    publish(&*broker, &sent).await;
    let mut deliveries = broker.consume(&ours(), 5).await.unwrap();
    let mut done = vec![next_acked(&mut deliveries).await.submission];
    deliveries.urgent.close();
    deliveries.ordinary.close();
    while let Some(delivery) = deliveries.ordinary.recv().await {
        delivery.settle.ack().await.unwrap();
        done.push(delivery.item.unwrap().submission);
    }
    assert!(done.len() <= 7, "{} were delivered after the close", done.len());
    let left = sent.len() - done.len();
    let waiting = QueueDepth { ready: left as u64, consumers: 0 };
    eventually("the rest waits", || async { broker.depth(&ours()).await.is_ok_and(|depth| depth == waiting) }).await;
    let mut deliveries = broker.consume(&ours(), 5).await.unwrap();
    for _ in 0..left {
        done.push(next_acked(&mut deliveries).await.submission);
    }
    done.sort();
    assert_eq!(done, sent.iter().map(|item| item.submission).collect::<Vec<_>>());
}

async fn deliveries_begin_although_nobody_declared_before(broker: Tested) {
    let mut deliveries = broker.consume(&ours(), 1).await.unwrap();
    eventually("two consumers", || async { broker.depth(&ours()).await.is_ok_and(|depth| depth.consumers == 2) }).await;
    let sent = item(&ours());
    publish(&*broker, std::slice::from_ref(&sent)).await;
    assert_eq!(next_acked(&mut deliveries).await, sent);
}

async fn declaring_again_changes_nothing(broker: Tested) {
    broker.declare(&[ours()]).await.unwrap();
    publish(&*broker, &items(&ours(), 2)).await;
    broker.declare(&[ours(), theirs()]).await.unwrap();
    ready_is(&*broker, &ours(), 2).await;
}

async fn nothing_can_be_done_after_close(broker: Tested) {
    broker.declare(&[ours()]).await.unwrap();
    publish(&*broker, &[item(&ours())]).await;
    let mut deliveries = broker.consume(&ours(), 1).await.unwrap();
    let _unsettled = next(&mut deliveries.ordinary).await;
    timeout(PATIENCE, broker.close()).await.expect("close hangs");
    assert!(timeout(PATIENCE, deliveries.ordinary.recv()).await.expect("deliveries go on").is_none());
    assert!(is_unavailable(&broker.publish(&[item(&ours())]).await.remove(0)));
    assert!(is_unavailable(&broker.declare(&[ours()]).await));
    assert!(is_unavailable(&broker.consume(&ours(), 1).await));
    assert!(is_unavailable(&broker.announce(&announcement()).await));
    assert!(is_unavailable(&broker.depth(&ours()).await));
    assert!(matches!(broker.health(), BrokerHealth::Disconnected(_)));
}
