//! Arrivals: what this process has just accepted comes in, and goes out once to the worker that delivers it, which is
//! spared reading the journal.
//!
//! Never the truth: a delivery still begins by the journal's leave, and what is not here is read there.

use super::exchange::is_small;
use crate::{
    domain::{Progress, Submission, SubmissionId},
    journal::Record,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// Larger ones are read from the journal, so that a queue that stands still takes little memory.
const LARGE_BYTES: usize = 16 << 10;

/// The newest submissions, at most so many.
#[derive(Default)]
pub struct Arrivals {
    kept: usize,
    inner: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    records: HashMap<SubmissionId, Arc<Record>>,
    /// Oldest first, also those that were taken.
    order: VecDeque<SubmissionId>,
}

impl Arrivals {
    /// `kept`: 0 in a process without a worker.
    pub fn new(kept: usize) -> Self {
        Self { kept, inner: Mutex::default() }
    }

    pub fn put(&self, submission: Submission) {
        if self.kept == 0 || !is_small(&submission.data, &mut { LARGE_BYTES }) {
            return;
        }
        let (id, changed_at) = (submission.id, submission.accepted_at);
        let record = Record { submission, progress: Progress::accepted(), changed_at, erased_at: None };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.records.insert(id, Arc::new(record));
        inner.order.push_back(id);
        if inner.order.len() > self.kept
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.records.remove(&oldest);
        }
    }

    pub fn take(&self, id: SubmissionId) -> Option<Arc<Record>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).records.remove(&id)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::{CallContext, Effect, Priority, Subject, TraceParent};

    pub fn submission() -> Submission {
        let now = jiff::Timestamp::UNIX_EPOCH;
        Submission {
            id: SubmissionId::new(),
            office: "causeni".parse().unwrap(),
            service: "person-lookup".parse().unwrap(),
            agency: "civil-registry".parse().unwrap(),
            effect: Effect::Read,
            priority: Priority::Ordinary,
            context: CallContext { clerk: "a".into(), entity: "b".into(), legal_basis: "c".into(), reason: "d".into() },
            subject: Subject { scheme: "idnp".into(), id: "1".into() },
            data: serde_json::json!({}),
            attachments: vec![],
            accepted_at: now,
            expires_at: now,
            trace: TraceParent::fresh(),
        }
    }

    #[test]
    fn each_is_given_out_once_and_the_oldest_are_forgotten() {
        let arrivals = Arrivals::new(2);
        let submissions: Vec<_> = (0..3).map(|_| submission()).collect();
        submissions.iter().for_each(|it| arrivals.put(it.clone()));
        assert!(arrivals.take(submissions[0].id).is_none());
        assert_eq!(arrivals.take(submissions[2].id).unwrap().submission, submissions[2]);
        assert!(arrivals.take(submissions[2].id).is_none());
        assert!(arrivals.take(submissions[1].id).is_some());
        let mut large = submission();
        large.data = serde_json::json!({ "text": "x".repeat(LARGE_BYTES) });
        arrivals.put(large.clone());
        assert!(arrivals.take(large.id).is_none());
        let none = Arrivals::new(0);
        none.put(submissions[0].clone());
        assert!(none.take(submissions[0].id).is_none());
    }
}
