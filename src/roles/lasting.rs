//! Lasting parts: what has to run for as long as the process does comes in, and is begun again if it fails inside.

use futures_util::FutureExt;
use std::{fmt::Display, future::Future, panic::AssertUnwindSafe, time::Duration};

/// A fault that meets every beginning is told at most this often.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs it until it ends by itself.
pub async fn lasting<F: Future<Output = ()>>(part: impl Display, begin: impl Fn() -> F) {
    while AssertUnwindSafe(begin()).catch_unwind().await.is_err() {
        tracing::error!(%part, "a part of this process failed inside and is begun again: please report it to Punte's makers");
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn what_fails_inside_is_begun_again_until_it_ends_by_itself() {
        let begun = Cell::new(0);
        lasting("retries", async || {
            begun.set(begun.get() + 1);
            tokio::task::yield_now().await;
            assert!(begun.get() > 1, "not yet");
        })
        .await;
        assert_eq!(begun.get(), 2);
    }
}
