//! The accepted cache, a part of the fast path: what this process is accepting comes in, and goes out once to the worker that
//! delivers it, which is spared reading the journal. A message may be quicker than the journal: then its worker waits here
//! until the journal has it.
//!
//! Never the truth: an attempt is recorded only by the journal's leave, and what is not here is read there.

use crate::{domain::SubmissionId, journal::Record, json::is_small, newest::Newest};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot::{self, error::TryRecvError};

/// Larger ones are read from the journal, so that a queue that stands still takes little memory.
const LARGE_BYTES: usize = 16 << 10;

/// The newest submissions. One in each process, held by its [`FastPath`](super::FastPath).
pub struct AcceptedCache {
    /// How many it keeps at most; 0 in a process without a worker.
    kept: usize,
    /// One is removed when a worker takes it, when it is asked about after the journal has it, or when it is the oldest of too
    /// many. Locked for a moment by the gateway, which puts a submission in, and by the worker, which takes it out.
    newest: Mutex<Records>,
}

/// Each with what tells that the journal has it.
type Records = Newest<SubmissionId, (Arc<Record>, oneshot::Receiver<()>)>;

/// What this process knows of a submission.
#[derive(Debug)]
pub enum Taken {
    /// The journal has it, like this.
    Accepted(Arc<Record>),
    /// Nobody was told of its number. Should the journal have it all the same, because its office hung up meanwhile, the
    /// relay publishes it.
    NeverAccepted,
    /// Nothing: the journal knows.
    Unknown,
}

/// One that the journal does not have yet. Whoever drops it gives it up.
pub struct PendingAccept(oneshot::Sender<()>);

impl AcceptedCache {
    /// `kept`: 0 in a process without a worker.
    pub fn new(kept: usize) -> Self {
        Self { kept, newest: Mutex::new(Newest::new(kept)) }
    }

    /// `None`: it is not kept here.
    pub fn put(&self, record: &Arc<Record>) -> Option<PendingAccept> {
        if self.kept == 0 || !is_small(&record.submission.data, LARGE_BYTES) {
            return None;
        }
        let (id, (accepted, outcome)) = (record.submission.id, oneshot::channel());
        self.newest().insert(id, (record.clone(), outcome));
        Some(PendingAccept(accepted))
    }

    /// Whether it is being accepted here, and the journal does not have it yet. What is known otherwise is forgotten:
    /// whoever asks will change it, and reads the journal.
    pub fn is_coming(&self, id: SubmissionId) -> bool {
        let mut newest = self.newest();
        let Some((_, outcome)) = newest.get_mut(&id) else { return false };
        let is_coming = outcome.try_recv() == Err(TryRecvError::Empty);
        if !is_coming {
            newest.remove(&id);
        }
        is_coming
    }

    /// Once it is known whether the journal has it.
    pub async fn take(&self, id: SubmissionId) -> Taken {
        let kept = self.newest().remove(&id);
        let Some((record, outcome)) = kept else { return Taken::Unknown };
        match outcome.await {
            Ok(()) => Taken::Accepted(record),
            Err(_) => Taken::NeverAccepted,
        }
    }

    fn newest(&self) -> MutexGuard<'_, Records> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingAccept {
    pub fn is_accepted(self) {
        // It may have been forgotten among many newer ones.
        let _ = self.0.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submissions::tests::submission;
    use tokio::task::yield_now;

    fn record() -> Arc<Record> {
        Arc::new(Record::accepted(submission()))
    }

    #[tokio::test]
    async fn each_is_given_out_once_and_the_oldest_are_forgotten() {
        let accepted = AcceptedCache::new(2);
        let records: Vec<_> = (0..3).map(|_| record()).collect();
        records.iter().for_each(|it| accepted.put(it).unwrap().is_accepted());
        let take = async |number: usize| accepted.take(records[number].submission.id).await;
        assert!(matches!(take(0).await, Taken::Unknown));
        assert!(matches!(take(2).await, Taken::Accepted(it) if it == records[2]));
        assert!(matches!(take(2).await, Taken::Unknown));
        assert!(matches!(take(1).await, Taken::Accepted(_)));
        let mut large = submission();
        large.data = serde_json::json!({ "text": "x".repeat(LARGE_BYTES) });
        assert!(accepted.put(&Arc::new(Record::accepted(large))).is_none());
        assert!(AcceptedCache::new(0).put(&records[0]).is_none());
    }

    #[tokio::test]
    async fn whoever_is_quicker_than_the_journal_waits_for_it() {
        let accepted = Arc::new(AcceptedCache::new(2));
        let (good, bad) = (record(), record());
        let coming = [accepted.put(&good).unwrap(), accepted.put(&bad).unwrap()];
        let take = |id| {
            let accepted = accepted.clone();
            tokio::spawn(async move { accepted.take(id).await })
        };
        let takers = [take(good.submission.id), take(bad.submission.id)];
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(takers.iter().all(|taker| !taker.is_finished()));
        let [to_good, to_bad] = coming;
        to_good.is_accepted();
        drop(to_bad);
        let [of_good, of_bad] = takers;
        assert!(matches!(of_good.await.unwrap(), Taken::Accepted(it) if it == good));
        assert!(matches!(of_bad.await.unwrap(), Taken::NeverAccepted));
    }

    #[tokio::test]
    async fn what_comes_is_known_as_such_until_its_acceptance_has_ended() {
        let accepted = AcceptedCache::new(2);
        let (good, bad) = (record(), record());
        let [to_good, to_bad] = [accepted.put(&good).unwrap(), accepted.put(&bad).unwrap()];
        let is_coming = || [&good, &bad].map(|record| accepted.is_coming(record.submission.id));
        assert_eq!(is_coming(), [true, true]);
        to_good.is_accepted();
        drop(to_bad);
        assert_eq!(is_coming(), [false, false]);
        for record in [good, bad] {
            assert!(matches!(accepted.take(record.submission.id).await, Taken::Unknown));
        }
    }
}
