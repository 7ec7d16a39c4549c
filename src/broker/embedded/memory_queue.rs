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
struct Parcel {
    item: WorkItem,
    redeliveries: u32,
}

pub(super) struct MemoryQueue {
    parcels: Mutex<VecDeque<Parcel>>,
    has_parcel: Notify,
    consumers: AtomicU64,
    dead_letters: Arc<AtomicU64>,
    delivery_limit: u32,
    capacity: usize,
}

impl MemoryQueue {
    pub(super) fn new(dead_letters: Arc<AtomicU64>, delivery_limit: u32, capacity: usize) -> Self {
        Self {
            parcels: Mutex::default(),
            has_parcel: Notify::new(),
            consumers: AtomicU64::new(0),
            dead_letters,
            delivery_limit,
            capacity,
        }
    }

    pub(super) fn ready(&self) -> u64 {
        self.parcels().len() as u64
    }

    pub(super) fn consumers(&self) -> u64 {
        self.consumers.load(Ordering::Relaxed)
    }

    /// Full, it takes nothing: the outbox keeps the item.
    pub(super) fn push(&self, item: WorkItem) -> Result<(), BrokerError> {
        let mut parcels = self.parcels();
        if parcels.len() >= self.capacity {
            return Err(BrokerError::Unavailable(format!("its queue holds {} messages already", self.capacity)));
        }
        parcels.push_back(Parcel { item, redeliveries: 0 });
        drop(parcels);
        self.has_parcel.notify_one();
        Ok(())
    }

    /// Hands out until the receiver is closed or the broker is.
    pub(super) async fn pour(
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
            let Some((parcel, permit)) = taken else { return };
            let settlement = Settlement { queue: self.clone(), parcel: None, _in_hand: permit };
            let delivery = settlement.deliver(parcel);
            // A closed receiver drops the delivery, and so gives it back.
            let _ = deliveries.send(delivery).await;
        }
    }

    /// Safe to drop while it waits: it takes only when it returns.
    async fn take(&self) -> Parcel {
        loop {
            let mut notified = std::pin::pin!(self.has_parcel.notified());
            notified.as_mut().enable();
            if let Some(parcel) = self.parcels().pop_front() {
                return parcel;
            }
            notified.await;
        }
    }

    fn give_back(&self, parcel: Parcel) {
        let redeliveries = parcel.redeliveries + 1;
        if redeliveries > self.delivery_limit {
            self.bury(&parcel.item);
            return;
        }
        self.parcels().push_front(Parcel { redeliveries, ..parcel });
        self.has_parcel.notify_one();
    }

    fn bury(&self, item: &WorkItem) {
        self.dead_letters.fetch_add(1, Ordering::Relaxed);
        tracing::error!(submission = %item.submission, agency = %item.agency, "a message became a dead letter");
    }

    fn parcels(&self) -> MutexGuard<'_, VecDeque<Parcel>> {
        self.parcels.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The end of one delivery. Dropped without a decision, it gives its message back.
struct Settlement {
    queue: Arc<MemoryQueue>,
    parcel: Option<Parcel>,
    _in_hand: OwnedSemaphorePermit,
}

impl Settlement {
    fn deliver(mut self, parcel: Parcel) -> Delivery {
        let (item, redeliveries) = (parcel.item.clone(), parcel.redeliveries);
        self.parcel = Some(parcel);
        Delivery { item: Ok(item), redeliveries, settle: Box::new(self) }
    }
}

#[async_trait]
impl Settle for Settlement {
    async fn ack(mut self: Box<Self>) -> Result<(), BrokerError> {
        self.parcel = None;
        Ok(())
    }

    async fn reject(mut self: Box<Self>) -> Result<(), BrokerError> {
        if let Some(parcel) = self.parcel.take() {
            self.queue.bury(&parcel.item);
        }
        Ok(())
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        if let Some(parcel) = self.parcel.take() {
            self.queue.give_back(parcel);
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
