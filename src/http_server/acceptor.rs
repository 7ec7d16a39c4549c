//! What a listener is given: its limits, and who makes the handshake with each connection.

use super::TcpConnection;
use std::{future::Future, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Copy)]
pub struct ListenerLimits {
    /// Connections at once, handshakes included; more wait in the kernel's queue.
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

/// One connection after its handshake, shared by the task that serves it and by all its requests, among whose extensions
/// it is; it is dropped after the last of them.
pub struct Connection<P> {
    /// Who the other side is.
    pub peer: P,
    /// Cancelled by a request after whose answer nothing more is to be said, or by who accepted the connection; its task
    /// then ends it after the requests under way.
    pub close_after_response: CancellationToken,
}

/// A connection after its handshake.
pub struct Accepted<S, P> {
    pub stream: S,
    pub version: HttpVersion,
    pub connection: Connection<P>,
}

/// Makes the handshakes of one listener, and lasts as long as it does.
pub trait Acceptor: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// What is known of the other side.
    type Peer: Send + Sync + 'static;

    /// The handshake; `None` if it fails. It need not watch the time.
    fn accept(
        &self,
        connection: TcpConnection,
    ) -> impl Future<Output = Option<Accepted<Self::Stream, Self::Peer>>> + Send;

    /// Whether the peer is somebody. The connections of all others may be closed when there are too many of them.
    fn is_identified(&self, peer: &Self::Peer) -> bool;
}

/// HTTP/1.1 without TLS, for whoever can reach the address: a loopback or management network.
pub struct PlainAcceptor;

impl Acceptor for PlainAcceptor {
    type Stream = TcpConnection;
    type Peer = ();

    async fn accept(&self, connection: TcpConnection) -> Option<Accepted<TcpConnection, ()>> {
        let close_after_response = CancellationToken::new();
        Some(Accepted {
            stream: connection,
            version: HttpVersion::Http1,
            connection: Connection { peer: (), close_after_response },
        })
    }

    fn is_identified(&self, (): &()) -> bool {
        true
    }
}
