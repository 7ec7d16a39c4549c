//! When another process of ours was heard last. The subscriber and the announcer share it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A process that has said nothing for so long has nobody who waits for an answer.
const LATELY: Duration = Duration::from_secs(600);

#[derive(Default)]
pub(super) struct PeersHeard(Mutex<Option<Instant>>);

impl PeersHeard {
    pub(super) fn note(&self) {
        *self.last() = Some(Instant::now());
    }

    pub(super) fn lately(&self) -> bool {
        self.last().is_some_and(|at| at.elapsed() < LATELY)
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
