//! The local waiters, a part of the fast path: what this process has just settled comes in, and goes out to whoever waits for
//! it at this process's gateway, who is spared reading the journal.
//!
//! Never the truth: it was in the journal before it came here, and what is not here is read there.

use crate::{
    domain::{Change, SubmissionId},
    journal::Record,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A submission with its timeline.
pub type Whole = Arc<(Record, Vec<Change>)>;

/// One in each process. Its gateway and whoever records hold it.
#[derive(Default)]
pub struct LocalWaiters(Mutex<HashMap<SubmissionId, Awaited>>);

/// One submission that somebody waits for. It is there for as long as anybody waits.
#[derive(Default)]
struct Awaited {
    /// How many requests wait.
    waiting: usize,
    /// What it has come to, for all of them.
    settled: Option<Whole>,
}

/// Somebody waits, until this is dropped.
pub struct Awaiting {
    submission: SubmissionId,
    waiters: Arc<LocalWaiters>,
}

impl LocalWaiters {
    pub fn wait(self: &Arc<Self>, submission: SubmissionId) -> Awaiting {
        self.awaited().entry(submission).or_default().waiting += 1;
        Awaiting { submission, waiters: self.clone() }
    }

    pub fn is_awaited(&self, submission: SubmissionId) -> bool {
        self.awaited().contains_key(&submission)
    }

    pub fn put(&self, record: Record, timeline: Vec<Change>) {
        if let Some(awaited) = self.awaited().get_mut(&record.submission.id) {
            awaited.settled = Some(Arc::new((record, timeline)));
        }
    }

    fn awaited(&self) -> MutexGuard<'_, HashMap<SubmissionId, Awaited>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Awaiting {
    pub fn settled(&self) -> Option<Whole> {
        self.waiters.awaited().get(&self.submission)?.settled.clone()
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        let mut all = self.waiters.awaited();
        let Some(awaited) = all.get_mut(&self.submission) else { return };
        awaited.waiting -= 1;
        if awaited.waiting == 0 {
            all.remove(&self.submission);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submissions::record::tests::submission;

    #[test]
    fn all_who_wait_are_given_it_and_nothing_stays_behind() {
        let waiters = Arc::new(LocalWaiters::default());
        let (ours, others) = (submission(), submission());
        let (first, second) = (waiters.wait(ours.id), waiters.wait(ours.id));
        assert!(waiters.is_awaited(ours.id) && first.settled().is_none());
        waiters.put(Record::accepted(ours.clone()), Vec::new());
        waiters.put(Record::accepted(others.clone()), Vec::new());
        assert_eq!(first.settled().unwrap().0.submission, ours);
        drop(first);
        assert_eq!(second.settled().unwrap().0.submission, ours);
        drop(second);
        assert!(!waiters.is_awaited(ours.id) && !waiters.is_awaited(others.id));
        assert!(waiters.wait(ours.id).settled().is_none());
    }
}
