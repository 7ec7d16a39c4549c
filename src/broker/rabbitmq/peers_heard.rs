//! When another process of ours was heard last, and whether they are to hear of this one. The subscriber and the announcer share
//! it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Each process that listens says so this often, even if nothing happens there. A greeting may be lost.
pub(super) const GREETING: Duration = Duration::from_secs(30);
/// Whoever has said nothing for so long is gone.
const LATELY: Duration = Duration::from_secs(10 * GREETING.as_secs());

#[derive(Default)]
pub(super) struct PeersHeard {
    last: Mutex<Option<Instant>>,
    greeting: Notify,
}

impl PeersHeard {
    pub(super) fn note(&self) {
        *self.last() = Some(Instant::now());
    }

    pub(super) fn lately(&self) -> bool {
        self.last().is_some_and(|at| at.elapsed() < LATELY)
    }

    /// They hear that there is this process, and tell it at once what happens.
    pub(super) fn greet(&self) {
        self.greeting.notify_one();
    }

    pub(super) async fn greeting(&self) {
        self.greeting.notified().await;
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
