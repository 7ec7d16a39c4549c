//! The accept loop: connections come in as long as there are permits for them, and each is served in a task of its own.

use super::{
    acceptor::{Accepted, Acceptor, ListenerLimits},
    client_stream::ClientStream,
    connection,
    unidentified::Unidentified,
};
use axum::Router;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What all connections of one listener share; it lasts until the last of them has ended.
struct Listener<A> {
    acceptor: A,
    router: Router,
    limits: ListenerLimits,
    /// The connections whose peer nobody has recognised, or not yet.
    unidentified: Arc<Unidentified>,
    /// Cancelled from outside when the listener is to stop: idle connections end, requests under way may.
    shutdown: CancellationToken,
}

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 1024;

/// Takes the address, and no connections yet: who comes before they are listened for is refused, and may come again.
pub fn reserve(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Takes connections, though none is served yet. The address is known then, also for port 0.
pub fn listen(socket: TcpSocket) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

pub fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    listen(reserve(address)?)
}

/// Serves until `shutdown`; then lets requests under way end within the grace, and cuts the rest off.
pub async fn serve<A: Acceptor>(
    socket: TcpListener,
    acceptor: A,
    router: Router,
    limits: ListenerLimits,
    shutdown: CancellationToken,
) {
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(limits.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let unidentified = Unidentified::new(limits.max_connections);
    let listener = Arc::new(Listener { acceptor, router, limits, unidentified, shutdown: shutdown.clone() });
    let cut = CancellationToken::new();
    loop {
        let next = tokio::select! {
            next = next_connection(&socket, &permits) => next,
            () = shutdown.cancelled() => break,
        };
        let Some((stream, permit)) = next else { continue };
        let (listener, cut) = (listener.clone(), cut.clone());
        connections.spawn(async move {
            tokio::select! {
                () = listener.serve_connection(stream) => {}
                () = cut.cancelled() => {}
            }
            drop(permit);
        });
    }
    drop(socket);
    connections.close();
    if tokio::time::timeout(limits.grace, connections.wait()).await.is_err() {
        tracing::warn!(cut_off = connections.len(), "requests were still under way when the grace ended");
        cut.cancel();
        connections.wait().await;
    }
}

/// The permit is taken before the connection is, so that more clients than permits wait in the kernel's queue.
async fn next_connection(socket: &TcpListener, permits: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.ok()?;
    match socket.accept().await {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, permit))
        }
        Err(error) => {
            // Out of file descriptors, for example: trying again at once would only burn the processor.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

impl<A: Acceptor> Listener<A> {
    async fn serve_connection(&self, stream: TcpStream) {
        let unidentified = self.unidentified.enter();
        let stream = ClientStream::new(stream, self.limits.write_timeout);
        let accepting = tokio::time::timeout(self.limits.handshake_timeout, self.acceptor.accept(stream));
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            () = unidentified.displaced() => return,
            // Nothing was asked yet.
            () = self.shutdown.cancelled() => return,
        };
        let Ok(Some(Accepted { stream, version, connection })) = accepted else { return };
        let is_identified = self.acceptor.is_identified(&connection.peer);
        let connection = Arc::new(connection);
        let serving = connection::serve(&self.router, stream, version, connection, self.limits, &self.shutdown);
        if is_identified {
            drop(unidentified);
            return serving.await;
        }
        tokio::select! {
            () = serving => {}
            () = unidentified.displaced() => {}
        }
    }
}
