//! Continuity: whether the journal that is open is the one that this installation has worked with. While it is not, nothing
//! is read from it and nothing written to it but by who mends that.

use super::JournalError;
use crate::domain::{JournalMark, Mark, SubmissionId, whole_microseconds};
use jiff::Timestamp;
use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// What a process knows of its journal, and the journal has to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The newest mark that this process has seen, in the journal or outside of it.
    pub newest: Mark,
    /// The attempts that have left last.
    pub left: Vec<Left>,
}

/// An attempt that the journal has recorded, and that has left since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub submission: SubmissionId,
    pub attempt: u32,
    pub begun_at: Timestamp,
    /// How far the journal had come by then.
    pub mark: Timestamp,
}

/// A journal that lacks anything lacks the end of it. As many as this may have been recorded in another order than they are
/// noted in.
const LEFT: usize = 64;

/// One to each open journal, which holds it. The process's restore guard suspends and resumes the journal by it.
#[derive(Default)]
pub struct Continuity {
    /// Whether `inner` has a reason, for every operation to ask without a lock.
    is_suspended: AtomicBool,
    /// How often it was suspended since it was opened. It never becomes less.
    suspensions: AtomicU64,
    /// Locked for a moment by whoever notes something or asks.
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The newest mark that this process has seen; `None` before the first.
    newest: Option<Mark>,
    /// The attempts that have left last, at most [`LEFT`]. The oldest makes room for a new one.
    left: VecDeque<Left>,
    /// Why nothing may be done with the journal.
    why: Option<String>,
}

impl Continuity {
    pub fn check(&self) -> Result<(), JournalError> {
        if !self.is_suspended.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(JournalError::Suspended(self.suspended_because().unwrap_or_default()))
    }

    /// Why nothing may be done with it.
    pub fn suspended_because(&self) -> Option<String> {
        self.inner().why.clone()
    }

    pub fn suspend(&self, why: String) {
        let mut inner = self.inner();
        if inner.why.replace(why).is_none() {
            self.suspensions.fetch_add(1, Ordering::Relaxed);
        }
        self.is_suspended.store(true, Ordering::Relaxed);
    }

    /// What was read when there were fewer may be of another state of the journal than there is now.
    pub fn suspensions(&self) -> u64 {
        self.suspensions.load(Ordering::Relaxed)
    }

    /// It is as it should be, or an operator has said so.
    pub fn resume(&self, mark: Mark) {
        let mut inner = self.inner();
        (inner.newest, inner.why) = (Some(mark), None);
        self.is_suspended.store(false, Ordering::Relaxed);
    }

    pub fn note(&self, mark: &Mark) {
        let mut inner = self.inner();
        // When two advance at once, the newer mark may have been noted first.
        if inner.newest.as_ref().is_none_or(|newest| newest.journal != mark.journal || newest.at < mark.at) {
            inner.newest = Some(mark.clone());
        }
    }

    /// This attempt is recorded, and leaves now: a journal without it is an earlier one. Before the first of them there was a
    /// mark.
    pub fn leaves(&self, submission: SubmissionId, attempt: u32, begun_at: Timestamp) {
        let mut inner = self.inner();
        let Some(mark) = inner.newest.as_ref().map(|newest| newest.at) else { return };
        if inner.left.len() == LEFT {
            inner.left.pop_front();
        }
        inner.left.push_back(Left { submission, attempt, begun_at: whole_microseconds(begun_at), mark });
    }

    pub fn newest(&self) -> Option<Mark> {
        self.inner().newest.clone()
    }

    /// What the journal has to be compared with. It is asked for before the journal is, because the mark moves on.
    pub fn known(&self) -> Option<Known> {
        let inner = self.inner();
        Some(Known { newest: inner.newest.clone()?, left: inner.left.iter().copied().collect() })
    }

    /// The journal shows this: the server may be another one than a moment ago, and know less.
    pub fn compare(&self, newest: &Mark, found: &JournalMark) {
        if let Some(behind) = found.behind(Some(newest)) {
            self.suspend(behind.in_words("this process"));
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
