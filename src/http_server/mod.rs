//! The accept loop of every HTTP listener: a bound socket and a [`Door`] come in, conversations with deadlines go out.
//!
//! A client that is slow or silent costs one permit and one small task, and both come back when its deadline passes:
//! handshake, first request, idleness and unread answers each have one.

mod client_stream;
mod conversation;
mod door;
mod framing;
mod strangers;

pub use client_stream::{ClientStream, TcpConnection};
pub use door::{Connection, Door, HttpVersion, ListenerLimits};
pub use framing::{FramedStream, REFUSED};

use std::{net::SocketAddr, sync::Arc, time::Duration};
use strangers::Strangers;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Binds, so that the address is known (port 0) before anybody is let in.
pub async fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// Serves until `shutdown`; then lets requests under way end within the grace, and cuts the rest off.
pub async fn serve<D: Door>(listener: TcpListener, door: Arc<D>, limits: ListenerLimits, shutdown: CancellationToken) {
    let conversations = TaskTracker::new();
    let places = Arc::new(Semaphore::new(limits.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let strangers = Strangers::new(limits.max_connections);
    let cut = CancellationToken::new();
    loop {
        let next = tokio::select! {
            next = admit(&listener, &places) => next,
            () = shutdown.cancelled() => break,
        };
        let Some((stream, place)) = next else { continue };
        let conversation = meet(door.clone(), stream, strangers.clone(), limits, shutdown.clone());
        let cut = cut.clone();
        conversations.spawn(async move {
            tokio::select! {
                () = conversation => {}
                () = cut.cancelled() => {}
            }
            drop(place);
        });
    }
    drop(listener);
    conversations.close();
    if tokio::time::timeout(limits.grace, conversations.wait()).await.is_err() {
        tracing::warn!(cut_off = conversations.len(), "requests were still under way when the grace ended");
        cut.cancel();
        conversations.wait().await;
    }
}

/// The place is taken before the connection is, so that more clients than places wait in the kernel's queue.
async fn admit(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, place))
        }
        Err(error) => {
            // Out of file descriptors, for example: trying again at once would only burn the processor.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn meet<D: Door>(
    door: Arc<D>,
    stream: TcpStream,
    strangers: Arc<Strangers>,
    limits: ListenerLimits,
    shutdown: CancellationToken,
) {
    let stranger = strangers.enter();
    let connection = ClientStream::new(stream, limits.write_timeout);
    let greeting = tokio::time::timeout(limits.handshake_timeout, door.greet(connection));
    let greeted = tokio::select! {
        greeted = greeting => greeted,
        () = stranger.shown_out() => return,
        // Nothing was asked yet.
        () = shutdown.cancelled() => return,
    };
    let Ok(Some((stream, version, peer))) = greeted else { return };
    let is_known = door.knows(&peer);
    let connection = Arc::new(Connection { peer, farewell: CancellationToken::new() });
    let conversation = conversation::hold(door, stream, version, connection, limits, shutdown);
    if is_known {
        drop(stranger);
        return conversation.await;
    }
    tokio::select! {
        () = conversation => {}
        () = stranger.shown_out() => {}
    }
}
