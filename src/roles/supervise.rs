//! Supervision: what has to run for as long as the process does comes in, and is restarted if it panics.

use futures_util::FutureExt;
use std::{fmt::Display, future::Future, panic::AssertUnwindSafe, time::Duration};

/// What panics at every start is restarted, and logged, at most this often.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs it until it ends by itself.
pub async fn restart_on_panic<F: Future<Output = ()>>(part: impl Display, start: impl Fn() -> F) {
    while AssertUnwindSafe(start()).catch_unwind().await.is_err() {
        tracing::error!(%part, "a part of this process panicked and is restarted: please report it to Punte's makers");
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn what_panics_is_restarted_until_it_ends_by_itself() {
        let begun = Cell::new(0);
        restart_on_panic("retries", async || {
            begun.set(begun.get() + 1);
            tokio::task::yield_now().await;
            assert!(begun.get() > 1, "not yet");
        })
        .await;
        assert_eq!(begun.get(), 2);
    }
}
