//! Continuity: whether the journal that is open is the one that this installation has worked with. While it is not, nothing
//! is read from it and nothing written to it but by who mends that.

use super::JournalError;
use crate::domain::{JournalMark, Mark};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

#[derive(Default)]
pub struct Continuity {
    is_held: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The newest mark that this process has seen, in the journal or outside of it.
    newest: Option<Mark>,
    /// Why nothing may be done with the journal.
    why: Option<String>,
}

impl Continuity {
    pub fn check(&self) -> Result<(), JournalError> {
        if !self.is_held.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(JournalError::Held(self.held().unwrap_or_default()))
    }

    /// Why nothing may be done with it.
    pub fn held(&self) -> Option<String> {
        self.known().why.clone()
    }

    pub fn hold(&self, why: String) {
        let mut known = self.known();
        known.why = Some(why);
        self.is_held.store(true, Ordering::Relaxed);
    }

    /// It is as it should be, or an operator has said so.
    pub fn goes_on(&self, mark: Mark) {
        let mut known = self.known();
        (known.newest, known.why) = (Some(mark), None);
        self.is_held.store(false, Ordering::Relaxed);
    }

    pub fn note(&self, mark: &Mark) {
        let mut known = self.known();
        // When two advance at once, the newer mark may have been noted first.
        if known.newest.as_ref().is_none_or(|newest| newest.journal != mark.journal || newest.at < mark.at) {
            known.newest = Some(mark.clone());
        }
    }

    /// What a new session has to be compared with. It is asked for before the session is, because the mark moves on.
    pub fn newest(&self) -> Option<Mark> {
        self.known().newest.clone()
    }

    /// A new session shows this: the server may be another one, and know less.
    pub fn compare(&self, newest: &Mark, found: &JournalMark) {
        if let Some(behind) = found.behind(Some(newest)) {
            self.hold(behind.in_words("this process"));
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
