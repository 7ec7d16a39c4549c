//! RabbitMQ behind [`Broker`]: settings come in, a broker that connects by itself and reconnects for ever goes out.
//!
//! - Two connections, one to publish and one to consume: a memory alarm stops the first and never the second.
//! - A channel for each consumer: what goes wrong on one agency's channel stays there.
//! - Everything that is declared once is declared again on every new connection.
//!
//! Reconnecting is our own loop (`reconnecting.rs`), not lapin's recovery: that one restores a queue that was deleted without
//! its consumer, and stops after a number of tries.

mod announcer;
mod connection;
mod consumer;
mod declarer;
mod error_text;
mod findings;
mod inspection;
mod mark;
pub mod names;
mod open_channel;
mod peers_heard;
mod publisher;
mod reconnecting;
mod removal;
mod report;
mod restorer;
mod runtime;
mod settings;
mod settlement;
mod shape;
mod subscriber;
mod topology;

pub use error_text::TO_TLS_PORT;
pub use removal::{remove, take_over};
pub use report::{AgencyReport, QueueReport, report};
pub use settings::{Peers, RabbitmqSettings, SettingsError};

use super::{
    Announcement, Broker, BrokerError, BrokerHealth, Deliveries, Delivery, QueueDepth, Watch, WorkItem,
    local_subscribers::LocalSubscribers,
};
use crate::domain::{AgencyName, Mark, Priority, SubmissionId};
use announcer::Announcer;
use async_trait::async_trait;
use consumer::QueueConsumer;
use inspection::inspect;
use mark::MarkQueue;
use peers_heard::PeersHeard;
use publisher::Publisher;
use reconnecting::{ConnectionState, ReconnectingConnection};
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
    /// The exchanges and queues that this process needs, and what is wrong with them. Everything below shares it.
    topology: Arc<Topology>,
    /// Publishes work items, on a channel of `to_publish`.
    publisher: Publisher,
    /// The connection to publish. Publisher, announcer, restorer and mark hold it too; `connections` closes it.
    to_publish: ReconnectingConnection,
    /// The connection to consume, declare and look at queues. Every consumer and the subscriber hold it too; `connections`
    /// closes it.
    to_consume: ReconnectingConnection,
    /// Sends announcements to the other processes, and to whoever else listens.
    announcer: Announcer,
    /// The queue with the copy of the journal's mark.
    mark: MarkQueue,
    /// Who waits in this process for announcements. The subscriber holds it too; it ends with the last of both.
    subscribers: LocalSubscribers,
    /// Whether announcements of other processes arrive. The subscriber's task sets it.
    is_listening: Arc<AtomicBool>,
    /// After how long an idle consumer is replaced: [`QueueConsumer::renew_after`].
    renew_after: Duration,
    /// The tasks that consume, the subscriber's among them. Stopped first, by `close` or by the drop.
    consumers: Phase,
    /// The tasks that announce. Stopped when no consumer is left.
    announcements: Phase,
    /// The tasks that connect and restore. Stopped last.
    connections: Phase,
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
        let (consumers, announcements, connections) = (Phase::default(), Phase::default(), Phase::default());
        let connect = |purpose| {
            ReconnectingConnection::start(
                target.clone(),
                purpose,
                topology.clone(),
                &connections.tasks,
                connections.stop.clone(),
            )
        };
        let (to_publish, to_consume) = (connect("publish"), connect("consume"));
        let restorer =
            Restorer::new(to_publish.clone(), topology.clone(), connections.tasks.clone(), connections.stop.clone());
        let publisher = Publisher::new(to_publish.clone(), topology.clone(), restorer, target.settings.confirm_timeout);
        let sender = format!("punte/{}", uuid::Uuid::new_v4().simple());
        let heard = Arc::<PeersHeard>::default();
        let announcer = Announcer::start(
            &to_publish,
            &topology,
            &sender,
            &target.settings,
            &heard,
            &announcements.tasks,
            &announcements.stop,
        );
        let subscribers = LocalSubscribers::new(ANNOUNCEMENTS_KEPT);
        let hears_others = target.settings.peers == Peers::ToldAndHeard;
        let is_listening = Arc::new(AtomicBool::new(!hears_others));
        if hears_others {
            let subscriber = Subscriber {
                reconnecting: to_consume.clone(),
                topology: topology.clone(),
                subscribers: subscribers.clone(),
                ourselves: sender,
                heard,
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
            subscribers,
            is_listening,
            renew_after,
            consumers,
            announcements,
            connections,
        })
    }

    fn start_consumer(&self, agency: &AgencyName, priority: Priority, prefetch: u16) -> mpsc::Receiver<Delivery> {
        let (sender, receiver) = mpsc::channel(prefetch.into());
        let consumer = QueueConsumer {
            reconnecting: self.to_consume.clone(),
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
        let connection = self.to_consume.now()?;
        self.topology.declare(&connection, agencies).await
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
        let start_consumer = |priority| self.start_consumer(agency, priority, prefetch);
        Ok(Deliveries { urgent: start_consumer(Priority::Urgent), ordinary: start_consumer(Priority::Ordinary) })
    }

    async fn announce(&self, announcement: &Announcement) -> Result<(), BrokerError> {
        self.subscribers.publish_locally(announcement);
        self.announcer.announce(announcement)
    }

    fn watch(&self, submission: SubmissionId) -> Watch {
        self.subscribers.watch(submission)
    }

    fn announcements(&self) -> broadcast::Receiver<Announcement> {
        self.subscribers.everything()
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
            (ConnectionState::Down(reason), _) | (_, ConnectionState::Down(reason)) => {
                BrokerHealth::Disconnected(reason.reason())
            }
            (ConnectionState::Blocked(_, reason), _) | (_, ConnectionState::Blocked(_, reason)) => {
                BrokerHealth::Blocked(reason)
            }
            (ConnectionState::Up(_), ConnectionState::Up(_)) => match self.topology.findings.in_words() {
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
        self.announcements.end().await;
        self.connections.end().await;
    }
}

impl Drop for RabbitmqBroker {
    fn drop(&mut self) {
        for phase in [&self.consumers, &self.announcements, &self.connections] {
            phase.stop.cancel();
        }
    }
}
