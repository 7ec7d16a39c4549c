//! Users of RabbitMQ with few rights or none, wrong passwords, virtual hosts and ports: what can work works, and what cannot is
//! told in words that name the key.

use super::{fixture::*, private::PrivateNode};
use punte::{
    broker::{
        Broker, BrokerError, BrokerHealth,
        rabbitmq::{RabbitmqBroker, RabbitmqSettings, names::Names},
    },
    domain::Mark,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

const PREFIX: &str = "punte";
/// As deploy/README.md names them.
const ALL_OF_ITS_OWN: [&str; 3] = [r"^punte\.", r"^punte\.", r"^punte\."];
const NOTHING_TO_MAKE: [&str; 3] = [r"^punte\.events\.", r"^punte\.(work$|events)", r"^punte\.(work|events|mark)"];

async fn as_user(node: &PrivateNode, user: &str) -> RabbitmqBroker {
    let settings = RabbitmqSettings {
        uri: node.uri_of(user),
        prefix: PREFIX.into(),
        identity: Some("41ca".into()),
        ..node.settings()
    };
    RabbitmqBroker::start(settings).unwrap()
}

async fn everything_works(here: &RabbitmqBroker, there: &RabbitmqBroker) {
    connected(here).await;
    connected(there).await;
    here.declare(&[ours()]).await.unwrap();
    let mut deliveries = there.consume(&ours(), 2).await.unwrap();
    let (sent, rejected, mut heard) = (item(&ours()), item(&ours()), there.announcements());
    publish(here, std::slice::from_ref(&sent)).await;
    assert_eq!(next_acked(&mut deliveries).await, sent);
    let before = here.dead_letter_count(&ours()).await.unwrap();
    publish(here, std::slice::from_ref(&rejected)).await;
    next(&mut deliveries.ordinary).await.settle.reject().await.unwrap();
    dead_letters_are(here, &ours(), before + 1).await;
    let mark = Mark { journal: "41ca".into(), at: jiff::Timestamp::from_second(1_800_000_000).unwrap() };
    here.mark().await.unwrap();
    here.keep_mark(&mark).await.unwrap();
    assert_eq!(there.mark().await.unwrap(), Some(mark));
    let told = announcement();
    here.announce(&told).await.unwrap();
    assert_eq!(timeout(PATIENCE, heard.recv()).await.unwrap().unwrap(), told);
    assert_eq!((here.health(), there.health()), (BrokerHealth::Connected, BrokerHealth::Connected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_the_rights_that_are_documented_can_do_everything_and_one_without_is_told_what_is_missing() {
    let node = PrivateNode::started().await;
    node.user("punte", ALL_OF_ITS_OWN).await;
    node.user("bare", NOTHING_TO_MAKE).await;
    node.user("reader", ["^$", "^$", r"^punte\."]).await;
    node.user("nobody", ["^$", "^$", "^$"]).await;

    // Before anything was made, who may make nothing says what is missing.
    let bare = as_user(&node, "bare").await;
    let told = degraded(&bare, "does not exist").await;
    assert!(told.contains("punte.work") && told.contains("set_permissions"), "{told}");

    let (here, there) = (as_user(&node, "punte").await, as_user(&node, "punte").await);
    everything_works(&here, &there).await;
    here.close().await;
    there.close().await;

    bare.close().await;
    let (here, there) = (as_user(&node, "bare").await, as_user(&node, "bare").await);
    everything_works(&here, &there).await;
    here.close().await;
    there.close().await;

    let reader = as_user(&node, "reader").await;
    eventually("a refusal", || async {
        matches!(reader.publish(&[item(&ours())]).await[0], Err(BrokerError::Refused(_)))
    })
    .await;
    let told = degraded(&reader, "nothing can be published").await;
    assert!(told.contains("punte.work"), "{told}");
    // What is tried again is told in the same words, and so once.
    degraded(&reader, "punte.events.…").await;
    reader.close().await;

    let nobody = as_user(&node, "nobody").await;
    let _deliveries = nobody.consume(&theirs(), 1).await.unwrap();
    let told = degraded(&nobody, &format!("punte.work.{}", theirs())).await;
    assert!(told.contains("does not exist") && told.contains("set_permissions") && !told.contains("delete"), "{told}");
    nobody.close().await;
}

/// No right is missing there, and giving one would not help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_virtual_host_with_no_room_for_another_queue_or_connection_is_told_as_full() {
    let node = PrivateNode::started().await;
    node.ctl(&["set_vhost_limits", "-p", "/", r#"{"max-queues": 0}"#]).await;
    let broker = RabbitmqBroker::start(node.settings()).unwrap();
    let _deliveries = broker.consume(&ours(), 1).await;
    let told = degraded(&broker, "queue limit").await;
    assert!(told.contains("set_vhost_limits") && !told.contains("set_permissions"), "{told}");
    broker.close().await;
    node.ctl(&["set_vhost_limits", "-p", "/", r#"{"max-connections": 0}"#]).await;
    let broker = RabbitmqBroker::start(node.settings()).unwrap();
    eventually("a refusal", || async {
        match broker.health() {
            BrokerHealth::Disconnected(told) => told.contains("set_vhost_limits") && !told.contains("set_permissions"),
            _ => false,
        }
    })
    .await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_virtual_host_or_port_is_told_in_plain_words_and_tried_less_and_less_often() {
    let node = PrivateNode::started().await;
    node.ctl(&["add_vhost", "closed"]).await;
    let port = node.uri.parse::<lapin::uri::AMQPUri>().unwrap().authority.port;
    for (uri, words) in [
        (node.uri.replace("guest:guest", "guest:geheim"), "the user or the password is wrong"),
        (node.uri.replace("%2f", "nowhere"), "there is no virtual host `nowhere`"),
        (node.uri.replace("%2f", "%252f"), "percent-encoded twice"),
        (node.uri.replace("%2f", ""), "empty virtual host"),
        (node.uri.replace("guest:guest@", "punte:geheim@"), "the user or the password is wrong"),
    ] {
        let broker = RabbitmqBroker::start(RabbitmqSettings { uri, ..node.settings() }).unwrap();
        let told = disconnected(&broker, words).await;
        assert!(told.contains("broker.uri") && !told.contains("geheim"), "{told}");
        let said = broker.publish(&[item(&ours())]).await.remove(0).unwrap_err().to_string();
        assert_eq!(said.matches("the broker refuses us").count(), 1, "{said}");
        broker.close().await;
    }
    node.user("stranger", ["^$", "^$", "^$"]).await;
    let uri = node.uri_of("stranger").replace("%2f", "closed");
    let broker = RabbitmqBroker::start(RabbitmqSettings { uri, ..node.settings() }).unwrap();
    disconnected(&broker, "the user may not use the virtual host `closed`").await;
    broker.close().await;

    let (through, tries) = counted_line(port).await;
    let uri = node.uri.replace(&format!(":{port}/"), &format!(":{through}/")).replace("guest:guest", "guest:geheim");
    let broker = RabbitmqBroker::start(RabbitmqSettings { uri, ..node.settings() }).unwrap();
    sleep(Duration::from_secs(8)).await;
    // Two connections, each after 0.2 s, 0.4 s, 0.8 s, ...
    let tries = tries.load(Ordering::Relaxed);
    assert!((4..=16).contains(&tries), "{tries} tries in 8 s");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_scheme_at_the_port_for_tls_is_told_in_plain_words() {
    let port = environment("PUNTE_TEST_AMQPS_URL").parse::<lapin::uri::AMQPUri>().unwrap().authority.port;
    let uri = format!("amqp://guest:guest@localhost:{port}/%2f");
    let broker = RabbitmqBroker::start(RabbitmqSettings { uri, ..settings() }).unwrap();
    let told = disconnected(&broker, "write amqps:// in broker.uri").await;
    assert!(!told.contains("Nom"), "{told}");
    broker.close().await;
}

/// A line to the node, and how often somebody has dialled.
async fn counted_line(port: u16) -> (u16, Arc<AtomicUsize>) {
    let (listener, tries) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(AtomicUsize::new(0)));
    let (address, counted) = (listener.local_addr().unwrap(), tries.clone());
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (address.port(), tries)
}

#[test]
fn the_prefix_of_these_rights_is_the_default_one() {
    let settings = RabbitmqSettings::new("amqp://localhost");
    assert_eq!(Names::new(&settings.prefix), Names::new(PREFIX));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_ends_with_the_refusals_words_when_rights_are_missing() {
    let node = PrivateNode::started().await;
    node.user("nobody", ["^$", "^$", "^$"]).await;
    node.user("mute", [".*", r"\.(urgent|civil-registry|legal-events|owner.*|dead)$", ".*"]).await;
    for (user, words) in [("nobody", "does not exist, and our user may not make it"), ("mute", "a right is missing")] {
        let begun = std::time::Instant::now();
        let mut demo = std::process::Command::new(env!("CARGO_BIN_EXE_punte"));
        demo.args(["demo", "--broker", &node.uri_of(user), "--project", env!("CARGO_MANIFEST_DIR")]);
        let shown = demo.output().unwrap();
        let said = String::from_utf8_lossy(&shown.stderr);
        assert_eq!(shown.status.code(), Some(1), "{user}: {said}");
        assert!(said.contains("RabbitMQ does not let the demo work") && said.contains(words), "{user}: {said}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{user}: {:?}", begun.elapsed());
    }
}
