//! The queues between processes: work items and events go in, deliveries come out. The journal is the truth; a broker
//! may lose everything, and only time is lost.
//!
//! Two implementations behind [`Broker`], proved by one test-suite: RabbitMQ, and one inside the process.

pub mod embedded;
mod batching;
mod local_subscribers;
mod message;
mod log_once;
pub mod rabbitmq;

pub use batching::yield_to_ready_tasks;
pub use local_subscribers::Watch;
pub use log_once::LogOnce;
pub use message::{Announcement, Poison, WorkItem};

use crate::domain::{AgencyName, Mark, SubmissionId};
use async_trait::async_trait;
use tokio::sync::{broadcast, mpsc};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// It is away, or does not answer: it comes back by itself.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// Somebody has to mend the configuration, here or there.
    #[error("the broker refuses us: {0}")]
    Refused(String),
    /// Two journals with one prefix would take each other's messages.
    #[error(
        "another installation uses this prefix: `{prefix}` belongs to the journal {theirs} on this broker, and ours is {ours}. \
         Give one of the two another broker.prefix; if the other is gone for good, take the prefix over with `punte queues \
         take-over`"
    )]
    Foreign { prefix: String, theirs: String, ours: String },
    /// Published, but no queue took it: the topology is missing.
    #[error("the broker has no queue for agency {0}")]
    Unroutable(AgencyName),
    #[error("the broker did not confirm in time")]
    NotConfirmed,
    /// What an agency needs is not there, and cannot be made.
    #[error("the broker is not as Punte needs it: {0}")]
    Topology(String),
    /// Where the copy of the journal's mark should be lies something else.
    #[error("what lies in the queue {0} is no mark of a journal: remove the message, or run `punte journal restored`")]
    NoMark(String),
}

impl BrokerError {
    /// Without saying first what kind of error it is: for texts that have said so.
    pub fn reason(&self) -> String {
        match self {
            BrokerError::Unavailable(reason) | BrokerError::Refused(reason) | BrokerError::Topology(reason) => {
                reason.clone()
            }
            BrokerError::Foreign { .. }
            | BrokerError::Unroutable(_)
            | BrokerError::NotConfirmed
            | BrokerError::NoMark(_) => self.to_string(),
        }
    }

    /// Whether it stays as it is until somebody mends it: trying often would help nobody.
    pub fn needs_a_person(&self) -> bool {
        match self {
            BrokerError::Refused(_)
            | BrokerError::Foreign { .. }
            | BrokerError::Topology(_)
            | BrokerError::NoMark(_) => true,
            BrokerError::Unavailable(_) | BrokerError::Unroutable(_) | BrokerError::NotConfirmed => false,
        }
    }
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
    /// Connected, but something in it does not work.
    Degraded(String),
    /// Connected, but the broker refuses publishes (its memory or disk alarm).
    Blocked(String),
    Disconnected(String),
}

#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Declares the exchanges and the queues of these agencies, or finds that what is there can be used. When the broker is
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
    /// Whether it outlives the processes, so that a copy of the journal's mark can be kept in it.
    fn keeps_marks(&self) -> bool {
        false
    }
    /// The copy that was kept last; `None` if there is none, or it has been lost.
    async fn mark(&self) -> Result<Option<Mark>, BrokerError> {
        Ok(None)
    }
    async fn keep_mark(&self, _: &Mark) -> Result<(), BrokerError> {
        Ok(())
    }
    fn health(&self) -> BrokerHealth;
    /// Whether it is not known yet if it can be used: the first connection is being made.
    fn is_starting(&self) -> bool;
    /// Closes connections in order; nothing can be published afterwards.
    async fn close(&self);
}
