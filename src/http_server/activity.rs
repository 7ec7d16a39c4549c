//! Whether a connection is in use: each of its requests is counted until the last byte of its answer is gone.

use super::acceptor::ListenerLimits;
use axum::body::{Body, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// How many requests are under way, and since when there are none: shared by the connection's task and its requests.
pub(super) struct Activity {
    /// How many [`Busy`] there are.
    busy: AtomicUsize,
    /// When the last of them ended.
    quiet: Mutex<Quiet>,
    limits: ListenerLimits,
}

struct Quiet {
    since: Instant,
    had_request: bool,
}

impl Activity {
    pub fn new(limits: ListenerLimits) -> Self {
        let quiet = Quiet { since: Instant::now(), had_request: false };
        Self { busy: AtomicUsize::new(0), quiet: Mutex::new(quiet), limits }
    }

    pub async fn idle_for_too_long(&self) {
        loop {
            let (since, allowed) = {
                let quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
                (quiet.since, if quiet.had_request { self.limits.idle_timeout } else { self.limits.header_timeout })
            };
            let is_busy = self.busy.load(Ordering::Acquire) > 0;
            match since + allowed {
                end if !is_busy && end <= Instant::now() => return,
                end if is_busy => tokio::time::sleep_until(end.max(Instant::now() + allowed)).await,
                end => tokio::time::sleep_until(end).await,
            }
        }
    }

    /// Ends once nothing has been under way for this long.
    pub async fn quiet_for(&self, wait: Duration) {
        loop {
            tokio::time::sleep(wait).await;
            let since = self.quiet.lock().unwrap_or_else(PoisonError::into_inner).since;
            if self.busy.load(Ordering::Acquire) == 0 && since.elapsed() >= wait {
                return;
            }
        }
    }
}

/// One request under way, until the last byte of its answer is gone or given up.
pub(super) struct Busy(Arc<Activity>);

impl Busy {
    pub fn begin(activity: &Arc<Activity>) -> Self {
        activity.busy.fetch_add(1, Ordering::AcqRel);
        Self(activity.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut quiet = self.0.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet = Quiet { since: Instant::now(), had_request: true };
        drop(quiet);
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer's body, which counts as under way until it is dropped.
pub(super) struct Watched {
    body: Body,
    _busy: Busy,
}

impl Watched {
    pub fn new(body: Body, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl HttpBody for Watched {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
