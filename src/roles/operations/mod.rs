//! The operators' listener: plain HTTP requests come in; liveness, readiness and Prometheus text go out.

mod journal_probe;
mod component;
mod queue_monitor;
mod readiness;

pub use component::ComponentHealth;
pub use queue_monitor::QueueMonitor;
pub use readiness::Readiness;

use crate::{
    http_server::{self, ListenerLimits, PlainAcceptor},
    telemetry::Metrics,
};
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpSocket, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub struct OperationsParts {
    /// Reserved already, so that nothing has begun if it cannot be.
    pub socket: TcpSocket,
    pub readiness: Arc<Readiness>,
    pub metrics: Metrics,
    pub shutdown: CancellationToken,
}

/// A listener that runs.
pub struct Operations {
    pub address: SocketAddr,
    pub ended: JoinHandle<()>,
}

/// What the handlers work with; the router holds it.
#[derive(Clone)]
struct OperationsState {
    readiness: Arc<Readiness>,
    metrics: Metrics,
}

const LIMITS: ListenerLimits = ListenerLimits {
    max_connections: 64,
    handshake_timeout: Duration::from_secs(10),
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(60),
    write_timeout: Duration::from_secs(10),
    grace: Duration::from_secs(2),
};

impl Operations {
    pub fn start(parts: OperationsParts) -> io::Result<Self> {
        let (socket, address) = http_server::listen(parts.socket)?;
        let router = router(OperationsState { readiness: parts.readiness, metrics: parts.metrics });
        let ended = tokio::spawn(http_server::serve(socket, PlainAcceptor, router, LIMITS, parts.shutdown));
        tracing::info!(%address, "health and metrics are served");
        Ok(Self { address, ended })
    }
}

fn router(state: OperationsState) -> Router {
    Router::new()
        .route("/healthz/live", get(async || text(StatusCode::OK, "text/plain", "alive\n")))
        .route("/healthz/ready", get(ready))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(async || text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET only\n"))
        .fallback(async || text(StatusCode::NOT_FOUND, "text/plain", "nothing here\n"))
        .with_state(state)
}

async fn ready(State(state): State<OperationsState>) -> Response {
    let (is_ready, report) = state.readiness.report().await;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(status, "application/json", format!("{report}\n"))
}

async fn metrics(State(state): State<OperationsState>) -> Response {
    // The parts' states are among the numbers.
    state.readiness.report().await;
    text(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", state.metrics.to_text())
}

fn text(status: StatusCode, media_type: &'static str, text: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "no-store")], text.into()).into_response()
}
