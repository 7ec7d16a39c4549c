//! RabbitMQ behind [`Broker`]: settings come in, a broker that connects by itself and reconnects for ever goes out.
//!
//! - Two connections, one to publish and one to consume: a memory alarm stops the first and never the second.
//! - A channel for each consumer: what goes wrong on one agency's channel stays there.
//! - Everything that is declared once is declared again on every new connection.
//!
//! Reconnecting is our own loop (`link.rs`), not lapin's recovery: that one restores a queue that was deleted without its
//! consumer, and stops after a number of tries.

mod announcer;
mod connection;
mod consumer;
mod declaring;
mod findings;
mod inspection;
mod link;
mod mark;
pub mod names;
mod open_channel;
mod publisher;
mod removal;
mod report;
mod restorer;
mod runtime;
mod settings;
mod settlement;
mod shape;
mod subscriber;
mod topology;
mod words;

pub use removal::{remove, take_over};
pub use report::{AgencyReport, QueueReport, report};
pub use settings::{RabbitmqSettings, SettingsError};
pub use words::TO_TLS_PORT;

use super::{
    Announcement, Broker, BrokerError, BrokerHealth, Deliveries, Delivery, Listeners, QueueDepth, Watch, WorkItem,
};
use crate::domain::{AgencyName, Mark, Priority, SubmissionId};
use announcer::Announcer;
use async_trait::async_trait;
use consumer::QueueConsumer;
use inspection::inspect;
use link::{Link, LinkState};
use mark::MarkQueue;
use publisher::Publisher;
use restorer::Restorer;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use subscriber::Subscriber;
use tokio::sync::{broadcast, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use topology::Topology;

/// Announcements that a slow receiver in this process may be behind.
const ANNOUNCEMENTS_KEPT: usize = 4096;

pub struct RabbitmqBroker {
    topology: Arc<Topology>,
    publisher: Publisher,
    to_publish: Link,
    to_consume: Link,
    announcer: Announcer,
    mark: MarkQueue,
    listeners: Listeners,
    is_listening: Arc<AtomicBool>,
    renew_after: Duration,
    consumers: Phase,
    links: Phase,
}

/// Tasks that are stopped together.
#[derive(Clone, Default)]
struct Phase {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Phase {
    async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl RabbitmqBroker {
    /// Returns at once and connects in the background: an office is served while RabbitMQ is down. Must be called inside a
    /// tokio runtime.
    pub fn start(settings: RabbitmqSettings) -> Result<Self, SettingsError> {
        let target = Arc::new(settings.checked()?);
        let topology = Arc::new(Topology::new(
            target.names.clone(),
            target.settings.delivery_limit,
            target.settings.identity.clone(),
        ));
        let (consumers, links) = (Phase::default(), Phase::default());
        let connect =
            |purpose| Link::start(target.clone(), purpose, topology.clone(), &links.tasks, links.stop.clone());
        let (to_publish, to_consume) = (connect("publish"), connect("consume"));
        let restorer = Restorer::new(to_publish.clone(), topology.clone(), links.tasks.clone(), links.stop.clone());
        let publisher = Publisher::new(to_publish.clone(), topology.clone(), restorer, target.settings.confirm_timeout);
        let sender = format!("punte/{}", uuid::Uuid::new_v4().simple());
        let announcer = Announcer::start(
            to_publish.clone(),
            topology.clone(),
            sender.clone(),
            target.settings.confirm_timeout,
            &links.tasks,
            links.stop.clone(),
        );
        let listeners = Listeners::new(ANNOUNCEMENTS_KEPT);
        let hears_others = target.settings.hears_others;
        let is_listening = Arc::new(AtomicBool::new(!hears_others));
        if hears_others {
            let subscriber = Subscriber {
                link: to_consume.clone(),
                topology: topology.clone(),
                listeners: listeners.clone(),
                ourselves: sender,
                is_listening: is_listening.clone(),
                stop: consumers.stop.clone(),
            };
            consumers.tasks.spawn(subscriber.run());
        }
        let mark = MarkQueue::new(to_publish.clone(), target.names.clone());
        let renew_after = target.settings.renew_idle_consumers_after;
        Ok(Self {
            topology,
            publisher,
            to_publish,
            to_consume,
            announcer,
            mark,
            listeners,
            is_listening,
            renew_after,
            consumers,
            links,
        })
    }

    fn tap(&self, agency: &AgencyName, priority: Priority, prefetch: u16) -> mpsc::Receiver<Delivery> {
        let (sender, receiver) = mpsc::channel(prefetch.into());
        let consumer = QueueConsumer {
            link: self.to_consume.clone(),
            topology: self.topology.clone(),
            agency: agency.clone(),
            priority,
            prefetch,
            renew_after: self.renew_after,
            stop: self.consumers.stop.clone(),
        };
        self.consumers.tasks.spawn(consumer.run(sender));
        receiver
    }
}

#[async_trait]
impl Broker for RabbitmqBroker {
    async fn declare(&self, agencies: &[AgencyName]) -> Result<(), BrokerError> {
        self.topology.remember(agencies);
        let wire = self.to_consume.now()?;
        self.topology.declare(&wire, agencies).await
    }

    async fn publish(&self, items: &[WorkItem]) -> Vec<Result<(), BrokerError>> {
        self.publisher.publish(items).await
    }

    async fn consume(&self, agency: &AgencyName, prefetch: u16) -> Result<Deliveries, BrokerError> {
        if self.consumers.stop.is_cancelled() {
            return Err(BrokerError::Unavailable("closed".into()));
        }
        self.topology.remember(std::slice::from_ref(agency));
        // AMQP reads a prefetch of 0 as "no limit".
        let prefetch = prefetch.max(1);
        let tap = |priority| self.tap(agency, priority, prefetch);
        Ok(Deliveries { urgent: tap(Priority::Urgent), ordinary: tap(Priority::Ordinary) })
    }

    async fn announce(&self, announcement: &Announcement) -> Result<(), BrokerError> {
        self.listeners.tell(announcement);
        self.announcer.announce(announcement)
    }

    fn watch(&self, submission: SubmissionId) -> Watch {
        self.listeners.watch(submission)
    }

    fn announcements(&self) -> broadcast::Receiver<Announcement> {
        self.listeners.everything()
    }

    async fn depth(&self, agency: &AgencyName) -> Result<QueueDepth, BrokerError> {
        let mut sum = QueueDepth::default();
        for priority in Priority::ALL {
            let queue = self.topology.names.work_queue(agency, priority);
            let depth = inspect(&*self.to_consume.now()?, queue, agency).await?;
            sum = QueueDepth { ready: sum.ready + depth.ready, consumers: sum.consumers + depth.consumers };
        }
        Ok(sum)
    }

    async fn dead_letter_count(&self, agency: &AgencyName) -> Result<u64, BrokerError> {
        let queue = self.topology.names.dead_queue(agency);
        Ok(inspect(&*self.to_consume.now()?, queue, agency).await?.ready)
    }

    fn keeps_marks(&self) -> bool {
        true
    }

    async fn mark(&self) -> Result<Option<Mark>, BrokerError> {
        self.mark.read().await
    }

    async fn keep_mark(&self, mark: &Mark) -> Result<(), BrokerError> {
        self.mark.keep(mark).await
    }

    fn health(&self) -> BrokerHealth {
        match (self.to_publish.state(), self.to_consume.state()) {
            (LinkState::Down(reason), _) | (_, LinkState::Down(reason)) => BrokerHealth::Disconnected(reason.reason()),
            (LinkState::Blocked(_, reason), _) | (_, LinkState::Blocked(_, reason)) => BrokerHealth::Blocked(reason),
            (LinkState::Up(_), LinkState::Up(_)) => match self.topology.findings.in_words() {
                Some(hindering) => BrokerHealth::Degraded(hindering),
                None if self.is_listening.load(Ordering::Relaxed) => BrokerHealth::Connected,
                None => BrokerHealth::Degraded("not listening to announcements yet".into()),
            },
        }
    }

    fn is_starting(&self) -> bool {
        self.to_publish.is_new() || self.to_consume.is_new()
    }

    async fn close(&self) {
        self.consumers.end().await;
        self.links.end().await;
    }
}

impl Drop for RabbitmqBroker {
    fn drop(&mut self) {
        self.consumers.stop.cancel();
        self.links.stop.cancel();
    }
}
