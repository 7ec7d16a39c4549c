//! A broker to test, alone with its own names; and the small words that tests are written in.

use lapin::{
    Connection, ConnectionProperties,
    options::{ExchangeDeleteOptions, QueueDeleteOptions},
};
use punte::{
    broker::{
        Announcement, Broker, BrokerError, BrokerHealth, Deliveries, Delivery, WorkItem,
        embedded::{EmbeddedBroker, EmbeddedSettings},
        rabbitmq::{RabbitmqBroker, RabbitmqSettings, names::Names},
    },
    domain::{AgencyName, Priority, StateName, SubmissionId, TraceParent},
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Fixture {
    pub broker: Arc<dyn Broker>,
    /// Where its names lie; none for the embedded broker.
    place: Option<(String, Names)>,
}

pub fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with tests/run"))
}

pub fn fresh_prefix() -> String {
    format!("test-{}", uuid::Uuid::new_v4().simple())
}

pub fn settings() -> RabbitmqSettings {
    RabbitmqSettings { prefix: fresh_prefix(), ..RabbitmqSettings::new(environment("PUNTE_TEST_AMQP_URL")) }
}

impl Fixture {
    pub async fn embedded(delivery_limit: u32) -> Self {
        let settings = EmbeddedSettings { delivery_limit, ..Default::default() };
        Self { broker: Arc::new(EmbeddedBroker::start(settings)), place: None }
    }

    pub async fn rabbitmq(delivery_limit: u32) -> Self {
        Self::with(RabbitmqSettings { delivery_limit, ..settings() }).await
    }

    pub async fn with(settings: RabbitmqSettings) -> Self {
        let place = (settings.uri.clone(), Names::new(&settings.prefix).unwrap());
        let broker = RabbitmqBroker::start(settings).unwrap();
        connected(&broker).await;
        Self { broker: Arc::new(broker), place: Some(place) }
    }

    /// Plays a test and takes away what it has left in RabbitMQ, even if it fails.
    pub async fn play<Play, Played>(self, play: Play)
    where
        Play: FnOnce(Arc<dyn Broker>) -> Played,
        Played: Future<Output = ()> + Send + 'static,
    {
        let outcome = tokio::spawn(play(self.broker.clone())).await;
        self.broker.close().await;
        if let Some((uri, names)) = &self.place {
            remove(uri, names).await;
        }
        if let Err(failed) = outcome {
            std::panic::resume_unwind(failed.into_panic());
        }
    }
}

pub async fn raw(uri: &str) -> Connection {
    Connection::connect(uri, ConnectionProperties::default()).await.unwrap()
}

pub async fn remove(uri: &str, names: &Names) {
    let connection = raw(uri).await;
    let channel = connection.create_channel().await.unwrap();
    for agency in [ours(), theirs()] {
        let work = Priority::ALL.map(|priority| names.work_queue(&agency, priority));
        for queue in work.into_iter().chain([names.dead_queue(&agency)]) {
            channel.queue_delete(queue, QueueDeleteOptions::default()).await.unwrap();
        }
    }
    channel.queue_delete(names.mark_queue(), QueueDeleteOptions::default()).await.unwrap();
    let events = [names.events_exchange(), names.peers_exchange()];
    for exchange in [names.work_exchange(), names.dead_exchange(), names.owner_exchange()].into_iter().chain(events) {
        channel.exchange_delete(exchange, ExchangeDeleteOptions::default()).await.unwrap();
    }
    connection.close(200, "done".into()).await.unwrap();
}

pub fn ours() -> AgencyName {
    "civil-registry".parse().unwrap()
}

pub fn theirs() -> AgencyName {
    "legal-events".parse().unwrap()
}

pub fn item(agency: &AgencyName) -> WorkItem {
    let (submission, trace) = (SubmissionId::new(), TraceParent::fresh());
    WorkItem { submission, agency: agency.clone(), office: None, priority: Priority::Ordinary, trace }
}

pub fn items(agency: &AgencyName, count: usize) -> Vec<WorkItem> {
    (0..count).map(|_| item(agency)).collect()
}

pub fn urgent(agency: &AgencyName) -> WorkItem {
    WorkItem { priority: Priority::Urgent, ..item(agency) }
}

pub fn announcement() -> Announcement {
    Announcement {
        submission: SubmissionId::new(),
        office: "causeni".parse().unwrap(),
        agency: ours(),
        service: "person-lookup".parse().unwrap(),
        state: StateName::Completed,
        at: jiff::Timestamp::from_second(1_800_000_000).unwrap(),
        trace: TraceParent::fresh(),
    }
}

pub async fn publish(broker: &dyn Broker, items: &[WorkItem]) {
    for result in broker.publish(items).await {
        result.unwrap();
    }
}

/// The next delivery, which must come.
pub async fn next(receiver: &mut mpsc::Receiver<Delivery>) -> Delivery {
    timeout(PATIENCE, receiver.recv()).await.expect("no delivery came").expect("the deliveries have ended")
}

/// Nothing comes for a while.
pub async fn nothing(receiver: &mut mpsc::Receiver<Delivery>) {
    if let Ok(delivery) = timeout(Duration::from_millis(400), receiver.recv()).await {
        panic!("came unasked: {:?}", delivery.map(|delivery| delivery.item));
    }
}

pub async fn next_acked(deliveries: &mut Deliveries) -> WorkItem {
    let delivery = next(&mut deliveries.ordinary).await;
    delivery.settle.ack().await.unwrap();
    delivery.item.unwrap()
}

pub async fn eventually<Check, Checked>(what: &str, mut check: Check)
where
    Check: FnMut() -> Checked,
    Checked: Future<Output = bool>,
{
    let end = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < end, "never happened: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

pub async fn connected(broker: &dyn Broker) {
    eventually("connected", || async { broker.health() == BrokerHealth::Connected }).await;
}

pub async fn ready_is(broker: &dyn Broker, agency: &AgencyName, count: u64) {
    eventually(&format!("{count} messages ready"), || async {
        broker.depth(agency).await.is_ok_and(|depth| depth.ready == count)
    })
    .await;
}

pub async fn dead_letters_are(broker: &dyn Broker, agency: &AgencyName, count: u64) {
    eventually(&format!("{count} dead letters"), || async {
        broker.dead_letter_count(agency).await.is_ok_and(|dead| dead == count)
    })
    .await;
}

/// Usable, but for what is told.
pub async fn degraded(broker: &dyn Broker, by: &str) -> String {
    let mut said = String::new();
    eventually(by, || {
        if let BrokerHealth::Degraded(why) = broker.health() {
            said = why;
        }
        let is_told = said.contains(by);
        async move { is_told }
    })
    .await;
    said
}

/// Not usable, and why.
pub async fn disconnected(broker: &dyn Broker, by: &str) -> String {
    let mut said = String::new();
    eventually(by, || {
        if let BrokerHealth::Disconnected(why) = broker.health() {
            said = why;
        }
        let is_told = said.contains(by);
        async move { is_told }
    })
    .await;
    said
}

pub fn is_unavailable<T>(result: &Result<T, BrokerError>) -> bool {
    matches!(result, Err(BrokerError::Unavailable(_)))
}
