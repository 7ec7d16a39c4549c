//! One connection after its handshake: its requests go to the router, until it is idle too long, told to end, or stopped.

use super::{
    acceptor::{Connection, HttpVersion, ListenerLimits},
    request_body::RequestBody,
};
use axum::{Router, body::Body};
use http::{Request, Response, StatusCode, header};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tower::Service;

/// Header fields of one request, all together.
const MAX_HEADER_BYTES: usize = 32 << 10;
const MAX_STREAMS: u32 = 100;
/// What HTTP/2 buffers before anybody reads it: it counts against no limit but the number of connections.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// How long a connection that was told to end may take over it.
const FAREWELL: Duration = Duration::from_secs(5);
/// The same when the process stops: an idle connection must not keep it, and what was answered is on its way.
const FAREWELL_AT_A_STOP: Duration = Duration::from_millis(200);

pub(super) async fn serve<S, P>(
    router: &Router,
    stream: S,
    version: HttpVersion,
    connection: Arc<Connection<P>>,
    limits: ListenerLimits,
    shutdown: &CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    P: Send + Sync + 'static,
{
    let activity = Arc::new(Activity::new(limits));
    let service = {
        let (activity, connection, router) = (activity.clone(), connection.clone(), router.clone());
        service_fn(move |request: Request<Incoming>| {
            let busy = Busy::begin(&activity);
            let mut request = request.map(|body| Body::new(RequestBody::new(body, version)));
            request.extensions_mut().insert(connection.clone());
            let response = router.clone().call(request);
            async move { Ok::<_, Infallible>(under_way(response.await?, busy)) }
        })
    };
    let builder = builder(version, limits);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ending = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = connection.farewell.cancelled() => {}
            () = activity.idle_for_too_long() => {}
        }
    };
    tokio::select! {
        _ = served.as_mut() => return,
        () = ending => served.as_mut().graceful_shutdown(),
    }
    // Requests under way may end; a connection without any is given a moment to say goodbye.
    tokio::select! {
        _ = served.as_mut() => {}
        () = activity.quiet_for(FAREWELL) => {}
        () = async { shutdown.cancelled().await; activity.quiet_for(FAREWELL_AT_A_STOP).await } => {}
    }
}

fn under_way(mut response: Response<Body>, busy: Busy) -> Response<Body> {
    if response.status() == StatusCode::NO_CONTENT {
        // The router writes one for every answer; this one may have none (RFC 9110, section 8.6).
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response.map(|body| Body::new(Watched { body, _busy: busy }))
}

/// The version is known from the handshake: letting `auto` find it out would wait for the first bytes without a deadline.
fn builder(version: HttpVersion, limits: ListenerLimits) -> Builder<TokioExecutor> {
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = match version {
        HttpVersion::Http1 => builder.http1_only(),
        HttpVersion::Http2 => builder.http2_only(),
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.idle_timeout / 2)
        .keep_alive_timeout(limits.header_timeout)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(4 * STREAM_WINDOW_BYTES)
        .max_header_list_size(MAX_HEADER_BYTES as u32);
    builder
}

/// How many requests are under way, and since when there are none: shared by the connection's task and its requests.
struct Activity {
    /// One for each [`Busy`].
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
    fn new(limits: ListenerLimits) -> Self {
        let quiet = Quiet { since: Instant::now(), had_request: false };
        Self { busy: AtomicUsize::new(0), quiet: Mutex::new(quiet), limits }
    }

    async fn idle_for_too_long(&self) {
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
    async fn quiet_for(&self, wait: Duration) {
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
struct Busy(Arc<Activity>);

impl Busy {
    fn begin(activity: &Arc<Activity>) -> Self {
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
struct Watched {
    body: Body,
    _busy: Busy,
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
