//! Dispatch: what this process has just accepted comes in; it goes to the broker at once, without a detour through the
//! outbox's query.
//!
//! The submission's outbox row is written as claimed, so the relay leaves it alone. What the broker does not take, and what
//! a crash leaves behind when the claim has run out, is the relay's.

mod shares;

use super::scheduler::{Published, Relay};
use crate::{
    broker::{WorkItem, yield_to_ready_tasks},
    domain::{Submission, SubmissionId, later},
    failpoints::{self, Failpoint},
};
use jiff::{SignedDuration, Timestamp};
use shares::Shares;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The gateway holds it as long as it runs. Its publisher is a task of the process.
#[derive(Clone)]
pub struct Dispatch {
    /// To the publisher, which ends when the process stops; what is in the queue then is left to the relay.
    queue: mpsc::Sender<WorkItem>,
    /// The broker has just refused something: for a moment everything is left to the relay, in its order.
    is_resting: Arc<AtomicBool>,
    /// What each office has under way. The task that hears what is over holds it as well.
    shares: Arc<Shares>,
    /// Cancelled when the process stops: no slot is given any more.
    stop: CancellationToken,
}

/// Why there is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPublishSlot {
    /// It waits for its office's turn, which the relay looks for by itself.
    BeyondShare,
    /// There is too much, or the broker takes nothing: the relay is to take it.
    NoRoom,
}

/// A slot in the queue: whoever has one may write the outbox row as claimed.
pub struct PublishSlot(mpsc::OwnedPermit<WorkItem>);

struct DispatchPublisher {
    relay: Relay,
    is_resting: Arc<AtomicBool>,
    confirmed: mpsc::UnboundedSender<Vec<SubmissionId>>,
    stop: CancellationToken,
}

const WAITING: usize = 1024;
const BATCH: usize = 256;
/// Batches that wait for their confirms at the same time.
const AT_ONCE: usize = 4;
/// Most submissions have been taken up by then, and need no note of having been queued.
const LINGER: Duration = Duration::from_millis(200);
const REST: Duration = Duration::from_secs(1);
/// A process that dies between accepting and the confirm delays its submissions by this long.
const LEASE: SignedDuration = SignedDuration::from_secs(15);

impl Dispatch {
    pub fn start(relay: Relay, tasks: &TaskTracker, stop: CancellationToken) -> Self {
        let (queue, taken) = mpsc::channel(WAITING);
        let (confirmed, to_note) = mpsc::unbounded_channel();
        let is_resting = Arc::new(AtomicBool::new(false));
        let submissions = relay.submissions.clone();
        let shares = Arc::new(Shares::new(relay.windows()));
        tasks.spawn(shares.clone().listen(relay.broker.announcements(), stop.clone()));
        let publisher = DispatchPublisher { relay, is_resting: is_resting.clone(), confirmed, stop: stop.clone() };
        tasks.spawn(Arc::new(publisher).run(taken));
        tasks.spawn(note(to_note, move |ids| {
            let submissions = submissions.clone();
            async move {
                let noted = submissions.published(&ids).await;
                failpoints::hit(Failpoint::RelayRecorded);
                noted
            }
        }));
        Self { queue, is_resting, shares, stop }
    }

    /// An error: it is the relay's. Of what an office has under way beyond its share, the rest waits in the journal, so that
    /// the broker's queue stays short and another office's need not stand behind it.
    pub fn slot(&self, submission: &Submission) -> Result<PublishSlot, NoPublishSlot> {
        let is_within_share = self.shares.admit(submission, Instant::now());
        if self.stop.is_cancelled() || self.is_resting.load(Ordering::Relaxed) {
            return Err(NoPublishSlot::NoRoom);
        }
        if !is_within_share {
            return Err(NoPublishSlot::BeyondShare);
        }
        self.queue.clone().try_reserve_owned().map(PublishSlot).map_err(|_| NoPublishSlot::NoRoom)
    }

    /// It was not accepted.
    pub fn forget(&self, submission: &Submission) {
        self.shares.over(&submission.agency, &submission.office, submission.id);
    }
}

impl PublishSlot {
    /// How long the outbox row of something accepted now is claimed.
    pub fn claimed_until(accepted_at: Timestamp) -> Timestamp {
        later(accepted_at, LEASE)
    }

    pub fn fill(self, item: WorkItem) {
        self.0.send(item);
    }
}

impl DispatchPublisher {
    async fn run(self: Arc<Self>, mut taken: mpsc::Receiver<WorkItem>) {
        let (permits, under_way) = (Arc::new(Semaphore::new(AT_ONCE)), TaskTracker::new());
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { break };
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                _ = taken.recv_many(&mut batch, BATCH) => {}
            }
            if batch.is_empty() {
                break;
            }
            yield_to_ready_tasks().await;
            while batch.len() < BATCH
                && let Ok(more) = taken.try_recv()
            {
                batch.push(more);
            }
            let publisher = self.clone();
            under_way.spawn(async move {
                publisher.publish(&batch).await;
                drop(permit);
            });
        }
        taken.close();
        let mut left = Vec::new();
        while let Some(item) = taken.recv().await {
            left.push(item.submission);
        }
        self.leave(&left).await;
        under_way.close();
        under_way.wait().await;
    }

    async fn publish(&self, batch: &[WorkItem]) {
        let Published { confirmed, refused } = self.relay.publish(batch).await;
        if !confirmed.is_empty() {
            // An error says that the process is ending; the claims run out.
            let _ = self.confirmed.send(confirmed);
        }
        if !refused.is_empty() {
            self.is_resting.store(true, Ordering::Relaxed);
            self.leave(&refused).await;
            tokio::select! { () = self.stop.cancelled() => {}, () = sleep(REST) => {} }
            self.is_resting.store(false, Ordering::Relaxed);
        }
    }

    /// To the relay.
    async fn leave(&self, items: &[SubmissionId]) {
        if !items.is_empty()
            && let Err(error) = self.relay.submissions.unpublished(items).await
        {
            tracing::warn!(%error, items = items.len(), "left to the relay when their claims have run out");
        }
    }
}

/// Tells the journal what the broker has confirmed, many at a time, and none before it has lingered.
async fn note<F>(mut confirmed: mpsc::UnboundedReceiver<Vec<SubmissionId>>, published: impl Fn(Vec<SubmissionId>) -> F)
where
    F: Future<Output = Result<(), crate::journal::JournalError>>,
{
    while let Some(mut lingering) = confirmed.recv().await {
        while !lingering.is_empty() {
            sleep(LINGER).await;
            let mut newer = Vec::new();
            while let Ok(more) = confirmed.try_recv() {
                newer.extend(more);
            }
            if let Err(error) = published(std::mem::replace(&mut lingering, newer)).await {
                tracing::warn!(%error, "published, but not noted: they are published again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn what_has_just_been_confirmed_is_not_noted_yet() {
        let (confirmed, to_note) = mpsc::unbounded_channel();
        let noted = Arc::new(Mutex::new(Vec::new()));
        let (begun, in_order) = (Instant::now(), noted.clone());
        let noting = tokio::spawn(note(to_note, move |ids: Vec<SubmissionId>| {
            in_order.lock().unwrap().push((begun.elapsed(), ids));
            async { Ok(()) }
        }));
        let [first, second, third] = std::array::from_fn(|_| SubmissionId::new());
        confirmed.send(vec![first]).unwrap();
        sleep(LINGER / 2).await;
        let confirmed_at = begun.elapsed();
        confirmed.send(vec![second]).unwrap();
        sleep(LINGER * 3).await;
        confirmed.send(vec![third]).unwrap();
        drop(confirmed);
        noting.await.unwrap();
        let noted: Vec<_> = noted.lock().unwrap().drain(..).collect();
        let ids: Vec<_> = noted.iter().map(|(_, ids)| ids.clone()).collect();
        assert_eq!(ids, [[first], [second], [third]]);
        assert!(noted[1].0 >= confirmed_at + LINGER, "{noted:?}");
    }
}
