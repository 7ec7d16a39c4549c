//! What every request passes: a connection and its certificate come in; a recognised office's call goes to its handler,
//! and whatever comes back leaves with its trace, its headers and its count.

use super::{
    Call, GatewayState, Problem, Reply,
    body::RequestBody,
    framing,
    office_directory::{KnownOffice, OfficeDirectory},
    routes::{self, Route},
};
use crate::{
    domain::{Code, TraceParent},
    http_client::{TlsFailure, tls_failure},
    http_server::{Connection, Door, FramedStream, HttpVersion, TcpConnection},
};
use axum::body::Body;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use rustls::{ServerConfig, pki_types::CertificateDer};
use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::Instrument;

/// A certificate that was good may expire or be revoked while its connection lasts.
const JUDGE_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(60);

pub struct FrontDoor {
    tls: TlsAcceptor,
    doorman: OfficeDirectory,
    state: Arc<GatewayState>,
}

/// The other end of one connection: what it has shown, and what was thought of it when.
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    verdict: Mutex<Verdict>,
    /// Its office's, if it has one and may have another connection.
    place: Option<OwnedSemaphorePermit>,
    _open: OpenConnection,
}

struct Verdict {
    at: Timestamp,
    office: Result<Arc<KnownOffice>, Problem>,
}

struct OpenConnection(crate::telemetry::Metrics);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

impl FrontDoor {
    pub fn new(tls: ServerConfig, doorman: OfficeDirectory, state: GatewayState) -> Self {
        Self { tls: TlsAcceptor::from(Arc::new(tls)), doorman, state: Arc::new(state) }
    }

    fn office(&self, peer: &Peer) -> Result<Arc<KnownOffice>, Problem> {
        let now = self.state.clock.now();
        let mut verdict = peer.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(verdict.at) >= JUDGE_AGAIN_AFTER {
            *verdict = Verdict { at: now, office: self.doorman.judge(&peer.chain) };
        }
        verdict.office.clone()
    }

    async fn handle(&self, connection: &Connection<Peer>, trace: TraceParent, request: Request<Incoming>) -> Reply {
        framing::check(&request).inspect_err(|_| connection.farewell.cancel())?;
        let (head, body) = request.into_parts();
        let body = RequestBody::new(body, head.version);
        let office = self.office(&connection.peer).inspect_err(|_| connection.farewell.cancel())?;
        tracing::Span::current().record("office", office.office.name.as_str());
        if self.state.shutdown.is_cancelled() {
            return Err(Code::ShuttingDown.into());
        }
        office.limits.take_request()?;
        let under_way = self.state.limits.request(&office.limits)?;
        let method = if head.method == Method::HEAD { Method::GET } else { head.method };
        let (route, parameter) = routes::find(&method, head.uri.path())?;
        let query = head.uri.query().map(str::to_owned);
        let call = Call { office, trace, headers: head.headers, query, parameter, body, under_way };
        (route.handler)(self.state.clone(), call).await
    }
}

impl Door for FrontDoor {
    type Stream = FramedStream<TlsStream<TcpConnection>>;
    type Peer = Peer;

    async fn greet(&self, mut connection: TcpConnection) -> Option<(Self::Stream, HttpVersion, Peer)> {
        if framing::answers_plain_http(&mut connection).await {
            return None;
        }
        let stream = self.tls.accept(connection).await.inspect_err(tell_failed).ok()?;
        let (_, session) = stream.get_ref();
        let version = match session.alpn_protocol() {
            Some(b"h2") => HttpVersion::Http2,
            _ => HttpVersion::Http1,
        };
        let chain = session.peer_certificates().unwrap_or_default().to_vec();
        let office = self.doorman.judge(&chain);
        let place = office.as_ref().ok().and_then(|office| office.limits.connection());
        let office = if place.is_some() { office } else { office.and(Err(Code::RateLimited.into())) };
        let verdict = Verdict { at: self.state.clock.now(), office };
        self.state.metrics.connection_opened();
        let open = OpenConnection(self.state.metrics.clone());
        let stream = match version {
            HttpVersion::Http1 => FramedStream::http1(stream),
            HttpVersion::Http2 => FramedStream::http2(stream),
        };
        Some((stream, version, Peer { chain, verdict: Mutex::new(verdict), place, _open: open }))
    }

    fn knows(&self, peer: &Peer) -> bool {
        peer.place.is_some()
    }

    async fn answer(self: Arc<Self>, connection: Arc<Connection<Peer>>, request: Request<Incoming>) -> Response<Body> {
        let begun = Instant::now();
        let trace = taken_up(request.headers());
        let (method, version) = (known(request.method()), request.version());
        let route = route_of(&request);
        let span =
            tracing::info_span!("request", trace = trace.trace_id(), method, route, office = tracing::field::Empty);
        let handled = AssertUnwindSafe(self.handle(&connection, trace, request).instrument(span.clone()));
        let reply = handled.catch_unwind().await.unwrap_or_else(|_| {
            let _inside = span.enter();
            tracing::error!("a handler panicked; the request was answered with an error");
            Err(Code::Internal.into())
        });
        let mut response = reply.unwrap_or_else(|problem| self.refuse(&problem, &trace));
        finish(
            &mut response,
            &trace,
            version,
            connection.farewell.is_cancelled() || self.state.shutdown.is_cancelled(),
        );
        self.state.metrics.request(method, route, response.status().as_u16(), begun.elapsed());
        let _inside = span.enter();
        tracing::debug!(status = response.status().as_u16(), "answered");
        response
    }
}

impl FrontDoor {
    fn refuse(&self, problem: &Problem, trace: &TraceParent) -> Response<Body> {
        self.state.metrics.refusal(problem.code);
        problem.to_response(trace)
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

/// More than one `traceparent` is none (W3C Trace Context, section 3.2.1).
fn taken_up(headers: &HeaderMap) -> TraceParent {
    let mut fields = headers.get_all("traceparent").iter();
    let field = fields.next().filter(|_| fields.next().is_none());
    TraceParent::taken_up(field.and_then(|field| field.to_str().ok()))
}

fn finish(response: &mut Response<Body>, trace: &TraceParent, version: Version, is_last: bool) {
    // What was not read of the body would be read as the next request, or waited for: such a connection ends.
    let is_cut_short = matches!(response.status(), StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT);
    let headers = response.headers_mut();
    if let Ok(trace) = HeaderValue::from_str(&trace.to_string()) {
        headers.insert("traceparent", trace);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // RFC 9113, section 8.2.2: HTTP/2 knows no such header; there the connection is closed by its own means.
    if (is_last || is_cut_short) && version < Version::HTTP_2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// For labels: a path is somebody's text, a route is ours.
fn route_of(request: &Request<Incoming>) -> &'static str {
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let by_path =
        |route: &&Route| routes::find(&route.method, request.uri().path()).is_ok_and(|it| it.0.path == route.path);
    match routes::find(method, request.uri().path()) {
        Ok((route, _)) => route.path,
        Err(_) => routes::ROUTES.iter().find(by_path).map_or("other", |route| route.path),
    }
}

fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
