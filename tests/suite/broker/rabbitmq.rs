//! What only RabbitMQ can show: its messages, its topology, and what others do to it.

use super::fixture::*;
use futures_util::future::join_all;
use lapin::{
    BasicProperties,
    options::{BasicGetOptions, BasicPublishOptions, QueueDeleteOptions, QueuePurgeOptions},
    types::AMQPValue,
};
use punte::{
    broker::{
        Broker, BrokerError, BrokerHealth, Poison, WorkItem,
        rabbitmq::{
            RabbitmqBroker, RabbitmqSettings,
            names::{Names, work_key},
        },
    },
    domain::Priority,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

fn uri() -> String {
    environment("PUNTE_TEST_AMQP_URL")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_work_item_are_delivered_as_poison_and_rejected_to_the_dead_letters() {
    let settings = settings();
    let names = Names::new(&settings.prefix).unwrap();
    Fixture::with(settings)
        .await
        .play(|broker| async move {
            broker.declare(&[ours()]).await.unwrap();
            let connection = raw(&uri()).await;
            let channel = connection.create_channel().await.unwrap();
            let mut newer: serde_json::Value = serde_json::from_slice(&item(&ours()).to_bytes()).unwrap();
            newer["version"] = 9.into();
            for bytes in [b"\xff\x00nonsense".to_vec(), newer.to_string().into_bytes()] {
                let key = work_key(&ours(), Priority::Ordinary).into();
                let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
                channel.basic_publish(names.work_exchange(), key, options, &bytes, properties).await.unwrap();
            }
            let mut deliveries = broker.consume(&ours(), 1).await.unwrap();
            let malformed = next(&mut deliveries.ordinary).await;
            assert!(matches!(malformed.item, Err(Poison::Malformed(_))));
            malformed.settle.reject().await.unwrap();
            let unknown = next(&mut deliveries.ordinary).await;
            assert_eq!(unknown.item, Err(Poison::Version(9)));
            unknown.settle.reject().await.unwrap();
            dead_letters_are(&*broker, &ours(), 2).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_persistent_and_says_what_it_is_and_which_trace_it_belongs_to() {
    let settings = settings();
    let names = Names::new(&settings.prefix).unwrap();
    Fixture::with(settings)
        .await
        .play(|broker| async move {
            broker.declare(&[ours()]).await.unwrap();
            let sent = item(&ours());
            publish(&*broker, std::slice::from_ref(&sent)).await;
            let channel = raw(&uri()).await.create_channel().await.unwrap();
            let queue = names.work_queue(&ours(), Priority::Ordinary);
            let message = channel.basic_get(queue, BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
            let properties = &message.properties;
            let text = |text: &Option<lapin::types::ShortString>| text.as_ref().map(ToString::to_string);
            assert_eq!(text(properties.message_id()), Some(sent.submission.to_string()));
            assert_eq!(text(properties.content_type()).as_deref(), Some(WorkItem::MEDIA_TYPE));
            assert_eq!(text(properties.kind()).as_deref(), Some("punte.work.v1"));
            assert_eq!(text(properties.app_id()).as_deref(), Some("punte"));
            assert_eq!(*properties.delivery_mode(), Some(2));
            assert!(properties.timestamp().is_some_and(|seconds| seconds > 1_700_000_000));
            let trace = properties.headers().as_ref().unwrap().inner().get("traceparent").cloned();
            assert_eq!(trace, Some(AMQPValue::LongString(sent.trace.to_string().into())));
            assert_eq!(WorkItem::from_bytes(&message.data), Ok(sent));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_whose_queue_is_deleted_makes_it_again_and_messages_flow() {
    let settings = settings();
    let names = Names::new(&settings.prefix).unwrap();
    Fixture::with(settings)
        .await
        .play(|broker| async move {
            let mut deliveries = broker.consume(&ours(), 1).await.unwrap();
            eventually("consumes", || async { broker.depth(&ours()).await.is_ok_and(|it| it.consumers == 2) }).await;
            let channel = raw(&uri()).await.create_channel().await.unwrap();
            for _ in 0..3 {
                let queue = names.work_queue(&ours(), Priority::Ordinary);
                channel.queue_delete(queue, QueueDeleteOptions::default()).await.unwrap();
                let sent = item(&ours());
                eventually("published", || async { broker.publish(std::slice::from_ref(&sent)).await[0].is_ok() })
                    .await;
                assert_eq!(next_acked(&mut deliveries).await, sent);
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_the_broker_has_forgotten_begins_anew_when_it_is_idle() {
    let settings = RabbitmqSettings { renew_idle_consumers_after: Duration::from_secs(2), ..settings() };
    let names = Names::new(&settings.prefix).unwrap();
    let other = RabbitmqBroker::start(settings.clone()).unwrap();
    connected(&other).await;
    Fixture::with(settings)
        .await
        .play(|broker| async move {
            let mut deliveries = broker.consume(&ours(), 1).await.unwrap();
            eventually("consumes", || async { broker.depth(&ours()).await.is_ok_and(|it| it.consumers == 2) }).await;
            let channel = raw(&uri()).await.create_channel().await.unwrap();
            let queue = names.work_queue(&ours(), Priority::Ordinary);
            channel.queue_delete(queue, QueueDeleteOptions::default()).await.unwrap();
            // Made again so soon that RabbitMQ keeps the consumer and never delivers to it.
            other.declare(&[ours()]).await.unwrap();
            let sent = item(&ours());
            publish(&*broker, std::slice::from_ref(&sent)).await;
            assert_eq!(next_acked(&mut deliveries).await, sent);
            sleep(Duration::from_secs(5)).await;
            let after_idling = item(&ours());
            publish(&*broker, std::slice::from_ref(&after_idling)).await;
            assert_eq!(next_acked(&mut deliveries).await, after_idling);
            other.close().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_whose_queue_is_deleted_says_so_once_and_makes_it_again() {
    let settings = settings();
    let names = Names::new(&settings.prefix).unwrap();
    Fixture::with(settings)
        .await
        .play(|broker| async move {
            broker.declare(&[ours()]).await.unwrap();
            let channel = raw(&uri()).await.create_channel().await.unwrap();
            let queue = names.work_queue(&ours(), Priority::Ordinary);
            channel.queue_delete(queue, QueueDeleteOptions::default()).await.unwrap();
            let sent = [item(&ours())];
            assert!(matches!(broker.publish(&sent).await[0], Err(BrokerError::Unroutable(_))));
            eventually("published", || async { broker.publish(&sent).await[0].is_ok() }).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announcements_reach_two_processes() {
    let settings = settings();
    let there = RabbitmqBroker::start(settings.clone()).unwrap();
    connected(&there).await;
    Fixture::with(settings)
        .await
        .play(|here| async move {
            let (mut ours, mut theirs) = (here.announcements(), there.announcements());
            let told = announcement();
            here.announce(&told).await.unwrap();
            for subscriber in [&mut ours, &mut theirs] {
                assert_eq!(timeout(PATIENCE, subscriber.recv()).await.unwrap().unwrap(), told);
            }
            there.close().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_without_settling_leaves_its_messages_to_another() {
    let settings = settings();
    let dying = RabbitmqBroker::start(settings.clone()).unwrap();
    connected(&dying).await;
    Fixture::with(settings)
        .await
        .play(|broker| async move {
            broker.declare(&[ours()]).await.unwrap();
            publish(&*broker, &items(&ours(), 4)).await;
            let mut lost = dying.consume(&ours(), 2).await.unwrap();
            let in_hand = next(&mut lost.ordinary).await;
            dying.close().await;
            assert!(is_unavailable(&in_hand.settle.ack().await));
            let mut deliveries = broker.consume(&ours(), 4).await.unwrap();
            for _ in 0..4 {
                next_acked(&mut deliveries).await;
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stays_silent_is_hung_up_on_and_nothing_waits_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = RabbitmqSettings {
        connect_timeout: Duration::from_secs(3),
        ..RabbitmqSettings::new(format!("amqp://127.0.0.1:{}/%2f", listener.local_addr().unwrap().port()))
    };
    let broker = RabbitmqBroker::start(settings).unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    let begun = Instant::now();
    assert!(is_unavailable(&broker.publish(&[item(&ours())]).await.remove(0)));
    assert!(is_unavailable(&broker.depth(&ours()).await));
    assert!(begun.elapsed() < Duration::from_secs(1), "publish waited for a connection");
    let mut read = Vec::new();
    timeout(PATIENCE, peer.read_to_end(&mut read)).await.expect("the connection was never given up").unwrap();
    assert_eq!(read, b"AMQP\0\0\x09\x01");
    assert!(matches!(broker.health(), BrokerHealth::Disconnected(_)));
    timeout(PATIENCE, broker.close()).await.expect("close hangs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_messages_are_published_with_pipelined_confirms() {
    let settings = settings();
    let names = Names::new(&settings.prefix).unwrap();
    Fixture::with(settings)
        .await
        .play(|broker| async move {
            broker.declare(&[ours()]).await.unwrap();
            let sent = items(&ours(), 5_000);
            let begun = Instant::now();
            publish(&*broker, &sent).await;
            let published = begun.elapsed();
            let mut deliveries = broker.consume(&ours(), 100).await.unwrap();
            let begun = Instant::now();
            for _ in 0..sent.len() {
                next_acked(&mut deliveries).await;
            }
            let rate = |time: Duration| sent.len() as f64 / time.as_secs_f64();
            println!("{:.0} published/s, {:.0} consumed and acknowledged/s", rate(published), rate(begun.elapsed()));
            let channel = raw(&uri()).await.create_channel().await.unwrap();
            let queue = names.work_queue(&ours(), Priority::Ordinary);
            assert_eq!(channel.queue_purge(queue, QueuePurgeOptions::default()).await.unwrap(), 0);
        })
        .await;
}

/// A line to RabbitMQ: its address, and how often something was written to it.
async fn counted_line() -> (String, Arc<AtomicUsize>) {
    let port = uri().parse::<lapin::uri::AMQPUri>().unwrap().authority.port;
    let (listener, writes) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(AtomicUsize::new(0)));
    let address = uri().replace(&format!(":{port}/"), &format!(":{}/", listener.local_addr().unwrap().port()));
    let counted = writes.clone();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (far, writes) = (TcpStream::connect(("127.0.0.1", port)).await.unwrap(), counted.clone());
            let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(async move { copy(&mut far_in, &mut near_out).await });
            tokio::spawn(async move {
                let mut bytes = vec![0; 1 << 20];
                while let Ok(count @ 1..) = near_in.read(&mut bytes).await {
                    writes.fetch_add(1, Ordering::Relaxed);
                    far_out.write_all(&bytes[..count]).await.unwrap();
                }
            });
        }
    });
    (address, writes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_together_is_not_a_write_a_message() {
    const MESSAGES: usize = 200;
    let (uri, writes) = counted_line().await;
    let since = move |before: usize| writes.load(Ordering::Relaxed) - before;
    Fixture::with(RabbitmqSettings { uri, ..settings() })
        .await
        .play(|broker| async move {
            broker.declare(&[ours()]).await.unwrap();
            let mut deliveries = broker.consume(&ours(), MESSAGES as u16).await.unwrap();
            publish(&*broker, &[item(&ours())]).await;
            next_acked(&mut deliveries).await;

            let before = since(0);
            publish(&*broker, &items(&ours(), MESSAGES)).await;
            let published = since(before);
            let mut taken = Vec::new();
            while taken.len() < MESSAGES {
                taken.push(next(&mut deliveries.ordinary).await);
            }
            let before = since(0);
            join_all(taken.into_iter().map(|it| it.settle.ack())).await.into_iter().for_each(|told| told.unwrap());
            let acked = since(before);
            println!("{published} writes to publish {MESSAGES}, {acked} to acknowledge them");
            assert!(published < MESSAGES / 2 && acked < MESSAGES / 2, "{published} to publish, {acked} to acknowledge");
        })
        .await;
}
