//! One queue in memory: work items come in, each goes out to one consumer at a time until it is settled.

use crate::broker::{BrokerError, Delivery, Settle, WorkItem};
use async_trait::async_trait;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// A message that waits.
struct QueuedMessage {
    item: WorkItem,
    redeliveries: u32,
}

pub(super) struct MemoryQueue {
    /// What waits, the next one first. A consumer takes a message out, and its settlement holds it until it is settled.
    messages: Mutex<VecDeque<QueuedMessage>>,
    /// Wakes one consumer for each message that is added or given back.
    message_added: Notify,
    /// Tasks that consume now; each counts itself as long as it lives.
    consumers: AtomicU64,
    /// The agency's dead letters, counted over its queues, which share it.
    dead_letters: Arc<AtomicU64>,
    delivery_limit: u32,
    capacity: usize,
}

impl MemoryQueue {
    pub(super) fn new(dead_letters: Arc<AtomicU64>, delivery_limit: u32, capacity: usize) -> Self {
        Self {
            messages: Mutex::default(),
            message_added: Notify::new(),
            consumers: AtomicU64::new(0),
            dead_letters,
            delivery_limit,
            capacity,
        }
    }

    pub(super) fn ready(&self) -> u64 {
        self.messages().len() as u64
    }

    pub(super) fn consumers(&self) -> u64 {
        self.consumers.load(Ordering::Relaxed)
    }

    /// Full, it takes nothing: the outbox keeps the item.
    pub(super) fn push(&self, item: WorkItem) -> Result<(), BrokerError> {
        let mut messages = self.messages();
        if messages.len() >= self.capacity {
            return Err(BrokerError::Unavailable(format!("its queue holds {} messages already", self.capacity)));
        }
        messages.push_back(QueuedMessage { item, redeliveries: 0 });
        drop(messages);
        self.message_added.notify_one();
        Ok(())
    }

    /// Hands out until the receiver is closed or the broker is.
    pub(super) async fn forward_deliveries(
        self: Arc<Self>,
        deliveries: mpsc::Sender<Delivery>,
        prefetch: u16,
        stop: CancellationToken,
    ) {
        let _counted = Counted::new(&self.consumers);
        let in_hand = Arc::new(Semaphore::new(prefetch.into()));
        loop {
            let next = async {
                let permit = in_hand.clone().acquire_owned().await.ok()?;
                Some((self.take().await, permit))
            };
            let taken = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = deliveries.closed() => return,
                taken = next => taken,
            };
            let Some((message, permit)) = taken else { return };
            let settlement = Settlement { queue: self.clone(), message: None, _in_hand: permit };
            let delivery = settlement.deliver(message);
            // A closed receiver drops the delivery, and so gives it back.
            let _ = deliveries.send(delivery).await;
        }
    }

    /// Safe to drop while it waits: it takes only when it returns.
    async fn take(&self) -> QueuedMessage {
        loop {
            let mut notified = std::pin::pin!(self.message_added.notified());
            notified.as_mut().enable();
            if let Some(message) = self.messages().pop_front() {
                return message;
            }
            notified.await;
        }
    }

    fn give_back(&self, message: QueuedMessage) {
        let redeliveries = message.redeliveries + 1;
        if redeliveries > self.delivery_limit {
            self.dead_letter(&message.item);
            return;
        }
        self.messages().push_front(QueuedMessage { redeliveries, ..message });
        self.message_added.notify_one();
    }

    fn dead_letter(&self, item: &WorkItem) {
        self.dead_letters.fetch_add(1, Ordering::Relaxed);
        tracing::error!(submission = %item.submission, agency = %item.agency, "a message became a dead letter");
    }

    fn messages(&self) -> MutexGuard<'_, VecDeque<QueuedMessage>> {
        self.messages.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The end of one delivery. Dropped without a decision, it gives its message back.
struct Settlement {
    queue: Arc<MemoryQueue>,
    message: Option<QueuedMessage>,
    _in_hand: OwnedSemaphorePermit,
}

impl Settlement {
    fn deliver(mut self, message: QueuedMessage) -> Delivery {
        let (item, redeliveries) = (message.item.clone(), message.redeliveries);
        self.message = Some(message);
        Delivery { item: Ok(item), redeliveries, settle: Box::new(self) }
    }
}

#[async_trait]
impl Settle for Settlement {
    async fn ack(mut self: Box<Self>) -> Result<(), BrokerError> {
        self.message = None;
        Ok(())
    }

    async fn reject(mut self: Box<Self>) -> Result<(), BrokerError> {
        if let Some(message) = self.message.take() {
            self.queue.dead_letter(&message.item);
        }
        Ok(())
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            self.queue.give_back(message);
        }
    }
}

/// Counts one consumer as long as it lives.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
