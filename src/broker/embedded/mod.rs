//! A broker inside one process. It keeps messages in memory only; after a restart the outbox fills it again.
//!
//! Its memory is bounded: each queue takes at most [`EmbeddedSettings::capacity`] messages of a few hundred bytes, and what
//! is given back to a full queue exceeds that by what consumers had in hand (their prefetch).

mod memory_queue;

use super::{
    Announcement, Broker, BrokerError, BrokerHealth, Deliveries, Delivery, QueueDepth, Watch, WorkItem,
    local_subscribers::LocalSubscribers,
};
use crate::domain::{AgencyName, Priority, SubmissionId};
use async_trait::async_trait;
use memory_queue::MemoryQueue;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{broadcast, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedSettings {
    /// How often a message may come back unsettled before it is a dead letter.
    pub delivery_limit: u32,
    /// Messages that may wait in one queue; more are refused as unavailable.
    pub capacity: usize,
    /// Announcements that a slow receiver may be behind.
    pub announcements_kept: usize,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self { delivery_limit: 5, capacity: 50_000, announcements_kept: 4096 }
    }
}

pub struct EmbeddedBroker {
    settings: EmbeddedSettings,
    /// The queues of every agency that was declared or consumed. They stay until the broker is dropped; deliveries that
    /// are not settled yet hold theirs too.
    agencies: Mutex<BTreeMap<AgencyName, AgencyQueues>>,
    /// Who waits in this process for announcements.
    subscribers: LocalSubscribers,
    /// Cancelled by `close` or by the drop: every consumer ends, and nothing is taken any more.
    stop: CancellationToken,
    /// The consumers' tasks; `close` waits for them.
    tasks: TaskTracker,
}

#[derive(Clone)]
struct AgencyQueues {
    urgent: Arc<MemoryQueue>,
    ordinary: Arc<MemoryQueue>,
    dead_letters: Arc<AtomicU64>,
}

impl AgencyQueues {
    fn new(settings: &EmbeddedSettings) -> Self {
        let dead_letters = Arc::new(AtomicU64::new(0));
        let queue = || Arc::new(MemoryQueue::new(dead_letters.clone(), settings.delivery_limit, settings.capacity));
        Self { urgent: queue(), ordinary: queue(), dead_letters: dead_letters.clone() }
    }

    fn queue(&self, priority: Priority) -> &Arc<MemoryQueue> {
        match priority {
            Priority::Urgent => &self.urgent,
            Priority::Ordinary => &self.ordinary,
        }
    }
}

impl EmbeddedBroker {
    pub fn start(settings: EmbeddedSettings) -> Self {
        Self {
            settings,
            agencies: Mutex::default(),
            subscribers: LocalSubscribers::new(settings.announcements_kept),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    fn queues(&self, agency: &AgencyName) -> Result<AgencyQueues, BrokerError> {
        self.agencies().get(agency).cloned().ok_or_else(|| BrokerError::Unroutable(agency.clone()))
    }

    fn declared(&self, agency: &AgencyName) -> AgencyQueues {
        self.agencies().entry(agency.clone()).or_insert_with(|| AgencyQueues::new(&self.settings)).clone()
    }

    fn start_consumer(&self, queue: Arc<MemoryQueue>, prefetch: u16) -> mpsc::Receiver<Delivery> {
        let (sender, receiver) = mpsc::channel(prefetch.into());
        self.tasks.spawn(queue.forward_deliveries(sender, prefetch, self.stop.clone()));
        receiver
    }

    fn open(&self) -> Result<(), BrokerError> {
        if self.stop.is_cancelled() { Err(BrokerError::Unavailable("closed".into())) } else { Ok(()) }
    }

    fn agencies(&self) -> MutexGuard<'_, BTreeMap<AgencyName, AgencyQueues>> {
        self.agencies.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Default for EmbeddedBroker {
    fn default() -> Self {
        Self::start(EmbeddedSettings::default())
    }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn declare(&self, agencies: &[AgencyName]) -> Result<(), BrokerError> {
        self.open()?;
        for agency in agencies {
            self.declared(agency);
        }
        Ok(())
    }

    async fn publish(&self, items: &[WorkItem]) -> Vec<Result<(), BrokerError>> {
        let publish = |item: &WorkItem| {
            self.open()?;
            self.queues(&item.agency)?.queue(item.priority).push(item.clone())
        };
        items.iter().map(publish).collect()
    }

    async fn consume(&self, agency: &AgencyName, prefetch: u16) -> Result<Deliveries, BrokerError> {
        self.open()?;
        let queues = self.declared(agency);
        let prefetch = prefetch.max(1);
        Ok(Deliveries {
            urgent: self.start_consumer(queues.urgent, prefetch),
            ordinary: self.start_consumer(queues.ordinary, prefetch),
        })
    }

    async fn announce(&self, announcement: &Announcement) -> Result<(), BrokerError> {
        self.open()?;
        self.subscribers.publish_locally(announcement);
        Ok(())
    }

    fn watch(&self, submission: SubmissionId) -> Watch {
        self.subscribers.watch(submission)
    }

    fn announcements(&self) -> broadcast::Receiver<Announcement> {
        self.subscribers.everything()
    }

    async fn depth(&self, agency: &AgencyName) -> Result<QueueDepth, BrokerError> {
        self.open()?;
        let AgencyQueues { urgent, ordinary, .. } = self.queues(agency)?;
        let ready = urgent.ready() + ordinary.ready();
        Ok(QueueDepth { ready, consumers: urgent.consumers() + ordinary.consumers() })
    }

    async fn dead_letter_count(&self, agency: &AgencyName) -> Result<u64, BrokerError> {
        self.open()?;
        Ok(self.queues(agency)?.dead_letters.load(Ordering::Relaxed))
    }

    fn health(&self) -> BrokerHealth {
        match self.open() {
            Ok(()) => BrokerHealth::Connected,
            Err(closed) => BrokerHealth::Disconnected(closed.reason()),
        }
    }

    fn is_starting(&self) -> bool {
        false
    }

    async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SubmissionId, TraceParent};

    fn item(priority: Priority) -> WorkItem {
        WorkItem {
            submission: SubmissionId::new(),
            agency: "civil-registry".parse().unwrap(),
            office: None,
            priority,
            trace: TraceParent::fresh(),
        }
    }

    #[tokio::test]
    async fn a_full_queue_takes_nothing_more_until_something_is_consumed() {
        let broker = EmbeddedBroker::start(EmbeddedSettings { capacity: 2, ..Default::default() });
        let one = item(Priority::Ordinary);
        broker.declare(std::slice::from_ref(&one.agency)).await.unwrap();
        let results = broker.publish(&[one.clone(), item(Priority::Ordinary), item(Priority::Ordinary)]).await;
        assert!(matches!(results[..], [Ok(()), Ok(()), Err(BrokerError::Unavailable(_))]));
        assert!(broker.publish(&[item(Priority::Urgent)]).await[0].is_ok(), "urgent work has a queue of its own");
        let mut deliveries = broker.consume(&one.agency, 1).await.unwrap();
        deliveries.ordinary.recv().await.unwrap().settle.ack().await.unwrap();
        assert!(broker.publish(&[item(Priority::Ordinary)]).await[0].is_ok());
    }

    #[tokio::test]
    async fn a_broker_that_is_dropped_ends_its_consumers() {
        let broker = EmbeddedBroker::default();
        let mut deliveries = broker.consume(&"civil-registry".parse().unwrap(), 1).await.unwrap();
        drop(broker);
        assert!(deliveries.urgent.recv().await.is_none() && deliveries.ordinary.recv().await.is_none());
    }
}
