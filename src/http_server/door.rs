//! What a listener is given: its limits, and who receives the connections and answers their requests.

use super::TcpConnection;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Copy)]
pub struct ListenerLimits {
    pub max_connections: usize,
    pub handshake_timeout: Duration,
    /// For each request's headers, and for the first request to come at all.
    pub header_timeout: Duration,
    /// For a connection without any request under way.
    pub idle_timeout: Duration,
    /// For a client that does not read what it is sent.
    pub write_timeout: Duration,
    /// For requests under way once the listener is being stopped.
    pub grace: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    Http1,
    Http2,
}

/// What is known of one connection: who it is (`peer`), and how to end it.
pub struct Connection<G> {
    pub peer: G,
    /// Cancelled by an answer after which nothing more is to be said.
    pub farewell: CancellationToken,
}

/// Who comes in, and what they are answered.
pub trait Door: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    type Peer: Send + Sync + 'static;

    /// The handshake; `None` if it fails. It need not watch the time.
    fn greet(
        &self,
        connection: TcpConnection,
    ) -> impl Future<Output = Option<(Self::Stream, HttpVersion, Self::Peer)>> + Send;

    /// Whether the peer is somebody; all others are strangers for as long as they stay.
    fn knows(&self, peer: &Self::Peer) -> bool;

    fn answer(
        self: Arc<Self>,
        connection: Arc<Connection<Self::Peer>>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + Send;
}
