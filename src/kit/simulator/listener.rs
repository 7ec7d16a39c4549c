//! Where the bus meets a simulated agency: connections come in over mutual TLS; each of their requests goes to the agency.

use super::{
    agency::{Agency, Reset},
    behaviour::Shown,
    cut::{Break, Cut, CutSwitch, ResetOnDrop},
};
use crate::http_server::{Accepted, Acceptor, Connection, HttpVersion, ListenerLimits, TcpConnection};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

pub(super) const LIMITS: ListenerLimits = ListenerLimits {
    max_connections: 10_000,
    handshake_timeout: Duration::from_secs(10),
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(60),
    write_timeout: Duration::from_secs(60),
    // It is to be gone when it is told to.
    grace: Duration::from_millis(300),
};

pub(super) struct TlsAcceptors {
    pub own: TlsAcceptor,
    /// With a new certificate of the same authority.
    pub renewed: Option<TlsAcceptor>,
    /// With a certificate of another authority.
    pub rogue: Option<TlsAcceptor>,
}

/// Shows the certificate that the behaviour asks for.
pub(super) struct AgencyAcceptor {
    pub tls: TlsAcceptors,
    pub agency: Arc<Agency>,
}

impl Acceptor for AgencyAcceptor {
    type Stream = Cut<TlsStream<TcpConnection>>;
    /// With which an answer on this connection is broken.
    type Peer = CutSwitch;

    async fn accept(&self, connection: TcpConnection) -> Option<Accepted<Self::Stream, CutSwitch>> {
        let shown = self.agency.script.of_connection();
        let other = match shown {
            Shown::Own => None,
            Shown::Renewed => self.tls.renewed.as_ref(),
            Shown::Rogue => self.tls.rogue.as_ref(),
        };
        if shown != Shown::Own {
            self.agency.shown_another.fetch_add(1, Ordering::Relaxed);
        }
        let stream = other.unwrap_or(&self.tls.own).accept(connection).await.ok()?;
        let close_after_response =
            self.agency.certificate_changed.lock().unwrap_or_else(PoisonError::into_inner).child_token();
        let (stream, peer) = Cut::around(stream);
        Some(Accepted { stream, version: HttpVersion::Http1, connection: Connection { peer, close_after_response } })
    }

    fn is_identified(&self, _: &CutSwitch) -> bool {
        true
    }
}

/// RST in the place of FIN, and no close_notify of TLS.
impl ResetOnDrop for TlsStream<TcpConnection> {
    fn reset_on_drop(&self) {
        let _ = self.get_ref().0.socket().set_zero_linger();
    }
}

pub(super) fn router(agency: Arc<Agency>) -> Router {
    Router::new().fallback(answer).with_state(agency)
}

/// An agency goes on with what it has begun, also when nobody waits for its answer any longer.
async fn answer(State(agency): State<Arc<Agency>>, request: Request) -> Response {
    let connection = request.extensions().get::<Arc<Connection<CutSwitch>>>().cloned();
    let answered = tokio::spawn(async move { agency.answer(request).await }).await.unwrap_or(Err(Reset));
    let (response, broken) = match answered {
        Ok(response) => {
            let broken = response.extensions().get::<Break>().copied();
            (response.map(Body::new), broken)
        }
        Err(Reset) => (Response::default(), Some(Break::RESET)),
    };
    if let (Some(connection), Some(broken)) = (connection, broken) {
        connection.peer.breaks(broken);
    }
    response
}
