//! Connections come in over mutual TLS; each of their requests goes to the agency.

use super::{
    agency::{Agency, Reset},
    behaviour::Shown,
    cut::{Break, Cut},
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    error::Error,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Acceptors {
    pub own: TlsAcceptor,
    /// With a new certificate of the same authority.
    pub renewed: Option<TlsAcceptor>,
    /// With a certificate of another authority.
    pub rogue: Option<TlsAcceptor>,
}

pub(super) async fn listen(listener: TcpListener, acceptors: Acceptors, agency: Arc<Agency>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let connection = serve(stream, acceptors.clone(), agency.clone(), stop.clone());
                    connections.spawn(connection);
                }
                Err(error) => {
                    tracing::warn!(%error, "the simulated agency cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
    connections.close();
    let _ = tokio::time::timeout(Duration::from_secs(2), connections.wait()).await;
}

async fn serve(stream: TcpStream, acceptors: Acceptors, agency: Arc<Agency>, stop: CancellationToken) {
    let shown = agency.script.of_connection();
    let other = match shown {
        Shown::Own => None,
        Shown::Renewed => acceptors.renewed,
        Shown::Rogue => acceptors.rogue,
    };
    let acceptor = other.unwrap_or(acceptors.own);
    let accepted = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await;
    if shown != Shown::Own {
        agency.shown_another.fetch_add(1, Ordering::Relaxed);
    }
    let Ok(Ok(stream)) = accepted else { return };
    let mut generation = agency.generation.subscribe();
    let (stream, cut) = Cut::around(stream);
    // An agency goes on with what it has begun, also when nobody waits for its answer any longer.
    let service = service_fn(|request| {
        let agency = agency.clone();
        let answering = tokio::spawn(async move { agency.answer(request).await });
        let cut = cut.clone();
        async move {
            let answer = answering.await.unwrap_or(Err(Reset))?;
            if let Some(it) = answer.extensions().get::<Break>() {
                cut.breaks(*it);
            }
            Ok::<_, Reset>(answer)
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_LIMIT);
    let mut connection = server.serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => return,
        _ = generation.changed() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            tokio::select! {
                ended = &mut connection => ended,
                () = stop.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended
        && error.source().is_some_and(|cause| cause.is::<Reset>())
    {
        reset(connection.into_parts().io.into_inner().into_inner());
    }
}

/// RST instead of FIN, and no farewell of TLS.
fn reset(stream: TlsStream<TcpStream>) {
    let (stream, _) = stream.into_inner();
    let _ = stream.set_zero_linger();
}
