//! What every request passes before its handler, and every answer on its way out: the office is recognised, its limits are
//! kept, and whatever comes back leaves as an answer of ours, traced and counted.

use super::{GatewayState, office_acceptor::Peer, office_directory::OfficeDirectory, office_request::Admitted, routes};
use crate::{
    domain::{Code, TraceParent},
    http_server::{After, Connection, Problem, check_request, complete, trace_of},
};
use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::Method;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};
use tracing::Instrument;

/// What decides whether a request comes in; the router holds it.
#[derive(Clone)]
pub(super) struct Admission {
    pub state: Arc<GatewayState>,
    pub directory: Arc<OfficeDirectory>,
}

/// The one layer around all routes.
pub(super) async fn admit(State(admission): State<Admission>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let (method, version) = (known(request.method()), request.version());
    let route = request.extensions().get::<MatchedPath>().map_or("other", |path| routes::label(path.as_str()));
    let trace = trace_of(request.headers());
    let span = tracing::info_span!("request", trace = trace.trace_id(), method, route, office = tracing::field::Empty);
    let Some(connection) = request.extensions().get::<Arc<Connection<Peer>>>().cloned() else {
        return Problem::from(Code::Internal).into_response_of(&trace);
    };
    let handled = AssertUnwindSafe(admission.handle(&connection, trace, request, next).instrument(span.clone()));
    let mut response = handled.catch_unwind().await.unwrap_or_else(|_| {
        let _inside = span.enter();
        tracing::error!("a handler panicked; the request was answered with an error");
        Problem::from(Code::Internal).into_response()
    });
    let state = &admission.state;
    if let Some(problem) = Problem::take_from(&mut response) {
        state.metrics.refusal(problem.code);
        response = problem.into_response_of(&trace);
    }
    let is_last = connection.close_after_response.is_cancelled() || state.shutdown.is_cancelled();
    complete(&mut response, &trace, version, if is_last { After::Close } else { After::KeepAlive });
    state.metrics.request(method, route, response.status().as_u16(), begun.elapsed());
    let _inside = span.enter();
    tracing::debug!(status = response.status().as_u16(), "answered");
    response
}

impl Admission {
    async fn handle(
        &self,
        connection: &Connection<Peer>,
        trace: TraceParent,
        mut request: Request,
        next: Next,
    ) -> Response {
        match self.judge(connection, trace, &request) {
            Ok(admitted) => {
                request.extensions_mut().insert(admitted);
                next.run(request).await
            }
            Err(problem) => problem.into_response(),
        }
    }

    fn judge(&self, connection: &Connection<Peer>, trace: TraceParent, request: &Request) -> Result<Admitted, Problem> {
        check_request(request).inspect_err(|_| connection.close_after_response.cancel())?;
        let office = connection.peer.office(&self.directory, self.state.clock.now());
        let office = office.inspect_err(|_| connection.close_after_response.cancel())?;
        tracing::Span::current().record("office", office.office.name.as_str());
        if self.state.shutdown.is_cancelled() {
            return Err(Code::ShuttingDown.into());
        }
        office.limits.take_request()?;
        let under_way = Arc::new(self.state.limits.request(&office.limits)?);
        Ok(Admitted { office, trace, under_way })
    }
}

/// For labels: a method is somebody's text, too.
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
