//! Which processes of ours listen: when another one was heard last, and when they are to hear of this one. The subscriber and the
//! announcer share it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Each process that listens greets the others so often: a greeting may be lost.
pub(super) const GREETING_EVERY: Duration = Duration::from_secs(30);
/// Whoever has not greeted for so long is gone.
const LATELY: Duration = Duration::from_secs(10 * GREETING_EVERY.as_secs());

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

    /// The others will hear that this process listens, and tell it at once what happens.
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
