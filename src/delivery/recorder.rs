//! The way of an attempt to the journal: a call that waits while the journal is away.

use crate::{
    domain::Clock,
    journal::{Journal, JournalError},
    submissions::Submissions,
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Part of the [`Deliverer`](super::Deliverer).
pub struct Recorder {
    /// All that is done with submissions. Who waits for them is told by it.
    pub submissions: Submissions,
    /// For its mark, and for whether it is still the journal that the installation has worked with.
    pub journal: Arc<dyn Journal>,
    pub clock: Arc<dyn Clock>,
    /// Cancelled by the process when its time to stop is up: nothing waits for the journal any longer.
    pub abort: CancellationToken,
}

const PAUSE: Duration = Duration::from_secs(1);

impl Recorder {
    /// Repeats a call of the journal until it works: the outcome of an attempt exists nowhere else.
    pub(super) async fn with_retry<T, F>(&self, call: impl Fn() -> F) -> Result<T, JournalError>
    where
        F: Future<Output = Result<T, JournalError>>,
    {
        loop {
            match call().await {
                Err(error) if self.waits_after(&error) => self.pause(&error).await,
                result => return result,
            }
        }
    }

    /// Whether the journal may take the same call in a while.
    pub(super) fn waits_after(&self, error: &JournalError) -> bool {
        matches!(error, JournalError::Unavailable(_) | JournalError::Suspended(_)) && !self.abort.is_cancelled()
    }

    pub(super) async fn pause(&self, error: &JournalError) {
        tracing::warn!(%error, "waiting for the journal");
        tokio::time::sleep(PAUSE).await;
    }
}
