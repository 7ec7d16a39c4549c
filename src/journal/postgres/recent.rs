//! How submissions stood that this process has just read or written: what is recorded of them next needs no reading.
//!
//! Never the truth: whatever is decided by it counts only if the row still has the version that is known here.

use crate::{domain::SubmissionId, journal::LastKnown, newest::Newest};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of less than a kilobyte each: they hold neither content nor messages.
const KEPT: usize = 1024;

/// One for each journal; its sessions hold it.
pub struct Recent(Mutex<Newest<SubmissionId, LastKnown>>);

impl Default for Recent {
    fn default() -> Self {
        Self(Mutex::new(Newest::new(KEPT)))
    }
}

impl Recent {
    pub fn remember(&self, known: LastKnown) {
        self.newest().insert(known.standing.id, known);
    }

    /// Once: whoever decides by it makes it outdated.
    pub fn recall(&self, id: SubmissionId) -> Option<LastKnown> {
        self.newest().remove(&id)
    }

    /// Another server may have another past.
    pub fn forget_all(&self) {
        self.newest().clear();
    }

    fn newest(&self) -> MutexGuard<'_, Newest<SubmissionId, LastKnown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
