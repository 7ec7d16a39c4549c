//! Where offices come in: their requests arrive over HTTPS with client certificates, submissions go into the journal, and
//! answers go out.
//!
//! A connection is accepted by [`office_acceptor`], which asks the [`office_directory`] whose certificate was shown. A
//! request's way: [`routes`] finds its handler, [`admission`] says whether it may come in now, the handler (`submit`,
//! `submissions`, …) gets it as an [`office_request`] and returns an answer or a [`Problem`](http_server::Problem).
//! Everything that a request may hold is a permit that comes back by itself ([`limits`]).

mod state;
mod limits;
mod office_directory;
mod certificates;
mod office_acceptor;
mod admission;
mod office_request;
mod refusal;
pub mod routes;
mod headers;
mod moment;
mod submit;
mod submission_request;
mod submissions;
mod submission_view;
mod events;
mod upload;
mod quota;
mod services;
pub mod openapi;
#[doc(hidden)]
pub mod fuzz_targets;

pub use certificates::GatewayCertificates;
use office_directory::Ambiguous;
pub use office_directory::check_apart;
pub use state::GatewayParts;

use crate::{
    attachments::AttachmentStore,
    http_server::{self, ListenerLimits},
    settings::GatewaySettings,
    trust::TrustError,
};
use admission::{Admission, admit};
use axum::middleware::from_fn_with_state;
use limits::Capacity;
use office_acceptor::OfficeAcceptor;
use office_directory::OfficeDirectory;
use state::GatewayState;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{sync::Notify, task::JoinHandle};

/// A gateway that runs.
pub struct Gateway {
    /// Where it listens: the port is a real one, also if 0 was asked for.
    pub address: SocketAddr,
    /// Notify it to have certificates and revocation lists looked at now, and not within half a minute.
    pub reload: Arc<Notify>,
    pub certificates: GatewayCertificates,
    /// Ends when the last connection has, after `shutdown`.
    pub ended: JoinHandle<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error(
        "the gateway cannot listen on {address}: {error}; free the port, or name another address as gateway.listen"
    )]
    Listen { address: SocketAddr, error: io::Error },
    #[error("the folder of attachments cannot be used: {0}")]
    Attachments(io::Error),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Offices(#[from] Ambiguous),
    #[error("the API's document is broken: {0}")]
    Document(String),
}

const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

impl Gateway {
    /// Loads, checks, binds and begins to serve.
    pub async fn start(parts: GatewayParts) -> Result<Self, GatewayError> {
        openapi::new_submission().map_err(|problem| GatewayError::Document(problem.clone()))?;
        let (settings, clock, shutdown) = (parts.settings.clone(), parts.clock.clone(), parts.shutdown.clone());
        let limits = limits_of(&settings, parts.grace);
        let certificates = GatewayCertificates::load(&settings, clock.now())?;
        let trusted = certificates.trusted.clone();
        let directory = OfficeDirectory::new(&parts.offices, Capacity::of(&settings), trusted, clock.clone())?;
        let directory = Arc::new(directory);
        let tls = certificates.server_config()?;
        let acceptor = OfficeAcceptor::new(tls, directory.clone(), clock.clone(), parts.metrics.clone());
        let attachments = AttachmentStore::open(&settings.attachments.folder).map_err(GatewayError::Attachments)?;
        let address = settings.listen;
        let bound = http_server::bind(address).map_err(|error| GatewayError::Listen { address, error });
        let (socket, address) = bound?;
        let state = Arc::new(GatewayState::new(parts, attachments));
        let keeping = state.keeping.clone();
        let admission = Admission { state: state.clone(), directory };
        let router = routes::router(state).layer(from_fn_with_state(admission, admit));
        let reload = Arc::new(Notify::new());
        let refreshing = certificates.clone().refresh(clock, reload.clone());
        let ended = tokio::spawn(async move {
            tokio::select! {
                () = http_server::serve(socket, acceptor, router, limits, shutdown) => {}
                () = refreshing => {}
            }
            keeping.close();
            keeping.wait().await;
        });
        tracing::info!(%address, "the gateway listens");
        Ok(Self { address, reload, certificates, ended })
    }
}

fn limits_of(settings: &GatewaySettings, grace: Duration) -> ListenerLimits {
    ListenerLimits {
        max_connections: settings.max_connections,
        handshake_timeout: settings.handshake_timeout,
        header_timeout: settings.header_timeout,
        idle_timeout: IDLE_TIMEOUT,
        write_timeout: WRITE_TIMEOUT,
        grace,
    }
}
