//! One connection after its handshake: its requests go to the router, until it is idle too long, is to be closed, or the
//! process stops.

use super::{
    acceptor::{Connection, HttpVersion, ListenerLimits},
    activity::{Activity, Busy, Watched},
    request_body::RequestBody,
};
use axum::{Router, body::Body};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::Service;

/// Header fields of one request, all together.
const MAX_HEADER_BYTES: usize = 32 << 10;
const MAX_STREAMS: u32 = 100;
/// What HTTP/2 buffers before anybody reads it: it counts against no limit but the number of connections.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// How long a connection that is being closed may take over it.
const GRACEFUL_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same when the process stops: an idle connection must not keep it, and what was answered is on its way.
const GRACEFUL_CLOSE_TIMEOUT_AT_STOP: Duration = Duration::from_millis(200);

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
            let (mut head, body) = request.into_parts();
            head.extensions.insert(connection.clone());
            let body = RequestBody::new(&head.headers, version, body);
            let arrival = body.arrival();
            let response = router.clone().call(Request::from_parts(head, Body::new(body)));
            async move {
                let mut response = response.await?;
                // RFC 9113, section 8.2.2: HTTP/2 knows no such header; there a body ends its own stream alone.
                if version == HttpVersion::Http1 && arrival.ends_connection(response.status()) {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(under_way(response, busy))
            }
        })
    };
    let builder = builder(version, limits);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ending = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = connection.close_after_response.cancelled() => {}
            () = activity.idle_for_too_long() => {}
        }
    };
    tokio::select! {
        _ = served.as_mut() => return,
        () = ending => served.as_mut().graceful_shutdown(),
    }
    // Requests under way may end; a connection without any is given a moment to close in order.
    tokio::select! {
        _ = served.as_mut() => {}
        () = activity.quiet_for(GRACEFUL_CLOSE_TIMEOUT) => {}
        () = async { shutdown.cancelled().await; activity.quiet_for(GRACEFUL_CLOSE_TIMEOUT_AT_STOP).await } => {}
    }
}

fn under_way(mut response: Response<Body>, busy: Busy) -> Response<Body> {
    if response.status() == StatusCode::NO_CONTENT {
        // The router writes one for every answer; this one may have none (RFC 9110, section 8.6).
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response.map(|body| Body::new(Watched::new(body, busy)))
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
