//! The operators' listener: plain HTTP requests come in; liveness, readiness and Prometheus text go out.

mod journal_probe;
mod part;
mod queue_sights;
mod readiness;

pub use part::{Part, PartState};
pub use queue_sights::QueueSights;
pub use readiness::Readiness;

use crate::{
    http_server::{self, Connection, Door, HttpVersion, ListenerLimits, TcpConnection},
    telemetry::Metrics,
};
use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct OperationsParts {
    pub listen: SocketAddr,
    pub readiness: Arc<Readiness>,
    pub metrics: Metrics,
    pub shutdown: CancellationToken,
}

/// A listener that runs.
pub struct Operations {
    pub address: SocketAddr,
    pub ended: JoinHandle<()>,
}

struct BackDoor {
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
    pub async fn start(parts: OperationsParts) -> io::Result<Self> {
        let (socket, address) = http_server::bind(parts.listen).await?;
        let door = Arc::new(BackDoor { readiness: parts.readiness, metrics: parts.metrics });
        let ended = tokio::spawn(http_server::serve(socket, door, LIMITS, parts.shutdown));
        tracing::info!(%address, "health and metrics are served");
        Ok(Self { address, ended })
    }
}

impl Door for BackDoor {
    type Stream = TcpConnection;
    type Peer = ();

    async fn greet(&self, connection: TcpConnection) -> Option<(TcpConnection, HttpVersion, ())> {
        Some((connection, HttpVersion::Http1, ()))
    }

    fn knows(&self, (): &()) -> bool {
        true
    }

    async fn answer(self: Arc<Self>, _: Arc<Connection<()>>, request: Request<Incoming>) -> Response<Body> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/healthz/live" | "/healthz/ready" | "/metrics" if !is_read => {
                text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET only\n".into())
            }
            "/healthz/live" => text(StatusCode::OK, "text/plain", "alive\n".into()),
            "/healthz/ready" => self.ready().await,
            "/metrics" => {
                // The parts' states are among the numbers.
                self.readiness.report().await;
                let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                text(StatusCode::OK, media_type, self.metrics.to_text())
            }
            _ => text(StatusCode::NOT_FOUND, "text/plain", "nothing here\n".into()),
        }
    }
}

impl BackDoor {
    async fn ready(&self) -> Response<Body> {
        let (is_ready, report) = self.readiness.report().await;
        let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        text(status, "application/json", format!("{report}\n"))
    }
}

fn text(status: StatusCode, media_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
