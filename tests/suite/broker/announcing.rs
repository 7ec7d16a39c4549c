//! What listeners of their own hear on RabbitMQ's exchange of events, and that nobody's listening is no trouble.

use super::fixture::*;
use futures_util::StreamExt;
use lapin::{
    Connection, Consumer,
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use punte::{
    broker::{
        Announcement, Broker,
        rabbitmq::{
            Peers, RabbitmqBroker, RabbitmqSettings,
            names::{ALL_SUBMISSIONS, Names},
        },
    },
    domain::StateName,
};
use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// Somebody whom the operator allows to listen, by one topic.
async fn listener(connection: &Connection, names: &Names, topic: &str) -> Consumer {
    let channel = connection.create_channel().await.unwrap();
    let (queue, nothing) = (names.own_events_queue(), FieldTable::default);
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    channel.queue_declare(queue.clone(), options, nothing()).await.unwrap();
    let exchange = names.events_exchange();
    channel.queue_bind(queue.clone(), exchange, topic.into(), QueueBindOptions::default(), nothing()).await.unwrap();
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    channel.basic_consume(queue, "".into(), options, nothing()).await.unwrap()
}

async fn heard(listener: &mut Consumer, count: usize) -> Vec<Announcement> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let message =
            timeout(PATIENCE, listener.next()).await.expect("an announcement was not heard").unwrap().unwrap();
        heard.push(serde_json::from_slice(&message.data).unwrap());
    }
    heard
}

fn told(state: StateName) -> Announcement {
    Announcement { state, ..announcement() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_begins_to_listen_by_whatever_topic_hears_all_that_fits_it_from_then_on() {
    let settings = RabbitmqSettings { peers: Peers::None, ..settings() };
    let (names, uri) = (Names::new(&settings.prefix).unwrap(), settings.uri.clone());
    Fixture::with(settings)
        .await
        .play(|broker| async move {
            broker.declare(&[ours()]).await.unwrap();
            for _ in 0..50 {
                broker.announce(&told(StateName::Sending)).await.unwrap();
            }
            let connection = raw(&uri).await;
            let mut all = listener(&connection, &names, ALL_SUBMISSIONS).await;
            let mut completed = listener(&connection, &names, "submission.*.*.completed").await;
            // What was announced before may still be on its way, and reaches those who have come meanwhile.
            sleep(Duration::from_millis(500)).await;
            while timeout(Duration::from_millis(200), all.next()).await.is_ok() {}
            let (sending, done) = (told(StateName::Sending), told(StateName::Completed));
            for announcement in [&sending, &done].repeat(50) {
                broker.announce(announcement).await.unwrap();
            }
            assert_eq!(heard(&mut completed, 50).await, vec![done.clone(); 50]);
            let (mut heard_sending, mut heard_done) = (0, 0);
            for announcement in heard(&mut all, 100).await {
                heard_sending += usize::from(announcement == sending);
                heard_done += usize::from(announcement == done);
            }
            assert_eq!((heard_sending, heard_done), (50, 50));
        })
        .await;
}

/// A broker that has processes to tell, and somebody who listens beside them.
async fn beside_peers<Played>(
    topic: &'static str,
    play: impl FnOnce(Arc<dyn Broker>, Consumer) -> Played + Send + 'static,
) where
    Played: Future<Output = ()> + Send + 'static,
{
    let settings = RabbitmqSettings { peers: Peers::ToldAndHeard, ..settings() };
    let (names, uri) = (Names::new(&settings.prefix).unwrap(), settings.uri.clone());
    Fixture::with(settings)
        .await
        .play(move |broker| async move {
            broker.declare(&[ours()]).await.unwrap();
            let connection = raw(&uri).await;
            let listener = listener(&connection, &names, topic).await;
            play(broker, listener).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_to_everything_hears_nothing_but_single_announcements() {
    beside_peers("#", |broker, mut everything| async move {
        let done = told(StateName::Completed);
        for _ in 0..50 {
            broker.announce(&done).await.unwrap();
        }
        assert_eq!(heard(&mut everything, 50).await, vec![done; 50]);
        assert!(timeout(Duration::from_millis(500), everything.next()).await.is_err());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_announced_just_before_the_end_is_still_heard() {
    beside_peers(ALL_SUBMISSIONS, |broker, mut all| async move {
        let done = told(StateName::Completed);
        for _ in 0..20 {
            broker.announce(&done).await.unwrap();
        }
        broker.close().await;
        assert_eq!(heard(&mut all, 20).await, vec![done; 20]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_have_heard_of_each_other_tell_each_other_at_once() {
    let settings = RabbitmqSettings { peers: Peers::ToldAndHeard, ..settings() };
    let other = settings.clone();
    Fixture::with(settings)
        .await
        .play(|here| async move {
            here.declare(&[ours()]).await.unwrap();
            let takes = async |from: &dyn Broker, to: &dyn Broker| {
                let (mut heard, begun) = (to.announcements(), Instant::now());
                from.announce(&announcement()).await.unwrap();
                timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
                begun.elapsed()
            };
            let moment = Duration::from_millis(50);
            let there = RabbitmqBroker::start(other).unwrap();
            connected(&there).await;
            // They greet each other, without anything to tell.
            sleep(Duration::from_millis(500)).await;
            for (from, to) in [(&there as &dyn Broker, &*here), (&*here, &there as &dyn Broker)] {
                let mut fastest = PATIENCE;
                for _ in 0..20 {
                    fastest = fastest.min(takes(from, to).await);
                }
                assert!(fastest < moment, "{fastest:?}");
            }
            there.close().await;
        })
        .await;
}

#[test]
fn the_log_is_quiet_where_nobody_listens_even_if_it_names_the_library() {
    let uri = environment("PUNTE_TEST_AMQP_URL");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_punte"));
    demo.args(["demo", "--broker", &uri, "--project", env!("CARGO_MANIFEST_DIR"), "--log", "warn,lapin=warn"]);
    let shown = demo.output().unwrap();
    let told = String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.success(), "{told}");
    assert!(!told.contains("returned"), "{told}");
}
