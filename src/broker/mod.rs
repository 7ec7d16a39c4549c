//! The queues between processes: work items and events go in, deliveries come out. The journal is the truth; a broker
//! may lose everything, and only time is lost.
//!
//! Two implementations behind [`Broker`], proved by one test-suite: RabbitMQ, and one inside the process.

pub mod embedded;
mod gathering;
mod listeners;
mod message;
pub mod rabbitmq;

pub use gathering::after_all_that_is_ready;
pub use listeners::{Listeners, Watch};
pub use message::{Announcement, Poison, WorkItem};

use crate::domain::{AgencyName, SubmissionId};
use async_trait::async_trait;
use tokio::sync::{broadcast, mpsc};

#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// Published, but no queue took it: the topology is missing.
    #[error("the broker has no queue for agency {0}")]
    Unroutable(AgencyName),
    #[error("the broker did not confirm in time")]
    NotConfirmed,
    /// A queue exists with other properties than ours.
    #[error("the broker's topology does not fit: {0}")]
    Topology(String),
}

/// A message in a worker's hands. Dropping it unsettled gives it back to the broker.
///
/// After a lost connection the same message may be delivered twice; of the two settlements only the newer one succeeds.
pub struct Delivery {
    pub item: Result<WorkItem, Poison>,
    /// How often the broker has delivered it before without a settlement.
    pub redeliveries: u32,
    pub settle: Box<dyn Settle>,
}

/// The two ways to end a delivery.
#[async_trait]
pub trait Settle: Send + Sync {
    /// The journal has the outcome: the broker may forget the message.
    async fn ack(self: Box<Self>) -> Result<(), BrokerError>;
    /// The message is poison: to the dead letters with it.
    async fn reject(self: Box<Self>) -> Result<(), BrokerError>;
}

/// An agency's deliveries, urgent ones and ordinary ones apart, so that the worker can take the urgent ones first. Both
/// survive reconnects. Dropping them ends the consumers; what was not settled goes back to the broker.
///
/// Three ways to stop:
/// - to pause, stop receiving: up to `prefetch` messages of each priority wait here and burn no redelivery;
/// - to drain, `close()` a receiver and `recv` until `None`: the consumer ends, what has arrived can still be settled;
/// - to leave, drop them: what has arrived goes back, and each return counts against the delivery limit.
pub struct Deliveries {
    pub urgent: mpsc::Receiver<Delivery>,
    pub ordinary: mpsc::Receiver<Delivery>,
}

/// How an agency's queue stands, as the broker sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Messages that wait, urgent and ordinary together.
    pub ready: u64,
    pub consumers: u64,
}

/// Whether the broker can be used now, for readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerHealth {
    Connected,
    /// Connected, but the broker refuses publishes (its memory or disk alarm).
    Blocked(String),
    Disconnected(String),
}

#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Declares the exchanges and the queues of these agencies, or checks that they are as we need them. When the broker is
    /// unavailable they are remembered, and declared as soon as it is there.
    async fn declare(&self, agencies: &[AgencyName]) -> Result<(), BrokerError>;
    /// Publishes with confirm and `mandatory`, pipelined; one result an item, in their order.
    async fn publish(&self, items: &[WorkItem]) -> Vec<Result<(), BrokerError>>;
    /// Begins to consume, with at most `prefetch` (from 1) unsettled messages of each priority. When the broker is unavailable
    /// the deliveries begin as soon as it is there.
    async fn consume(&self, agency: &AgencyName, prefetch: u16) -> Result<Deliveries, BrokerError>;
    /// Tells everybody about a change of state, without waiting for the broker. Best effort: who listens must be able to read
    /// the journal instead.
    async fn announce(&self, announcement: &Announcement) -> Result<(), BrokerError>;
    /// One submission's announcements from now on, at once if they are made in this process.
    fn watch(&self, submission: SubmissionId) -> Watch;
    /// All announcements from now on; a lagging receiver loses the oldest ones.
    fn announcements(&self) -> broadcast::Receiver<Announcement>;
    async fn depth(&self, agency: &AgencyName) -> Result<QueueDepth, BrokerError>;
    /// How many of the agency's messages were rejected or came back too often. They stay until an operator removes them.
    async fn dead_letter_count(&self, agency: &AgencyName) -> Result<u64, BrokerError>;
    fn health(&self) -> BrokerHealth;
    /// Closes connections in order; nothing can be published afterwards.
    async fn close(&self);
}
