//! The handshake of offices' systems: a connection comes in; who has shown which certificate on it, and what is thought of
//! that, goes out.

use super::{
    limits::ConnectionPermit,
    office_directory::{KnownOffice, OfficeDirectory},
};
use crate::{
    domain::{Clock, Code},
    http_client::{TlsFailure, tls_failure},
    http_server::{Accepted, Acceptor, Connection, Problem, TcpConnection, TlsClientStream, accept_tls},
    telemetry::Metrics,
};
use jiff::{SignedDuration, Timestamp};
use rustls::{ServerConfig, pki_types::CertificateDer};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// A certificate that was good may expire or be revoked while its connection lasts.
const JUDGE_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// The gateway's listener holds it for as long as it runs.
pub(super) struct OfficeAcceptor {
    tls: TlsAcceptor,
    directory: Arc<OfficeDirectory>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// The other end of one connection: what it has shown, and what was thought of it when.
pub(super) struct Peer {
    chain: Vec<CertificateDer<'static>>,
    /// Renewed by a request that finds it too old.
    verdict: Mutex<Verdict>,
    /// Its office's, if it has one and may have another connection. It comes back when the connection ends.
    permit: Option<ConnectionPermit>,
    _open: OpenConnection,
}

struct Verdict {
    at: Timestamp,
    office: Result<Arc<KnownOffice>, Problem>,
}

/// A connection that counts among the metrics until this is dropped.
struct OpenConnection(Metrics);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

impl OfficeAcceptor {
    pub fn new(tls: ServerConfig, directory: Arc<OfficeDirectory>, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        Self { tls: TlsAcceptor::from(Arc::new(tls)), directory, clock, metrics }
    }
}

impl Peer {
    /// The office that the certificate belongs to now.
    pub fn office(&self, directory: &OfficeDirectory, now: Timestamp) -> Result<Arc<KnownOffice>, Problem> {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(verdict.at) >= JUDGE_AGAIN_AFTER {
            *verdict = Verdict { at: now, office: directory.judge(&self.chain) };
        }
        verdict.office.clone()
    }
}

impl Acceptor for OfficeAcceptor {
    type Stream = TlsClientStream;
    type Peer = Peer;

    async fn accept(&self, connection: TcpConnection) -> Option<Accepted<TlsClientStream, Peer>> {
        let accepted = accept_tls(&self.tls, connection).await.inspect_err(tell_failed);
        let (stream, version, chain) = accepted.ok()??;
        let office = self.directory.judge(&chain);
        let permit = office.as_ref().ok().and_then(|office| office.limits.connection());
        let office = if permit.is_some() { office } else { office.and(Err(Code::RateLimited.into())) };
        let verdict = Mutex::new(Verdict { at: self.clock.now(), office });
        self.metrics.connection_opened();
        let open = OpenConnection(self.metrics.clone());
        let peer = Peer { chain, verdict, permit, _open: open };
        let connection = Connection { peer, close_after_response: CancellationToken::new() };
        Some(Accepted { stream, version, connection })
    }

    fn is_identified(&self, peer: &Peer) -> bool {
        peer.permit.is_some()
    }
}

/// Whoever does not get as far as a request is told nothing, so that the log alone can say why.
fn tell_failed(error: &std::io::Error) {
    match tls_failure(error) {
        // The names are those of a client that looks at a server; here it is the other way round.
        Some(TlsFailure::ServerCertificate(why)) => {
            tracing::warn!(
                why,
                "a client's certificate cannot be read, or its key was not proved: its handshake failed"
            );
        }
        Some(TlsFailure::OurCertificate(why)) => tracing::warn!(why, "a client does not take our certificate"),
        Some(failure) => tracing::info!(why = %failure, "a client's TLS handshake failed"),
        None => tracing::debug!("a client went away during its TLS handshake"),
    }
}
