//! What a handler is given of a request whose office was recognised, and what it gives back.

use super::{limits::UnderWay, office_directory::KnownOffice};
use crate::{
    domain::{Code, TraceParent},
    http_server::Problem,
};
use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Path, Request},
    response::Response,
};
use http::{HeaderMap, request::Parts};
use std::{str::FromStr, sync::Arc};

/// What the admission puts among the extensions of a request that may go to its handler.
#[derive(Clone)]
pub(super) struct Admitted {
    pub office: Arc<KnownOffice>,
    pub trace: TraceParent,
    /// Comes back with the last of its clones: at the end of the handler, or early where the handler only waits.
    pub under_way: Arc<UnderWay>,
}

/// One request of an office that was recognised.
pub(super) struct OfficeRequest {
    pub office: Arc<KnownOffice>,
    pub trace: TraceParent,
    pub headers: HeaderMap,
    pub body: Body,
    /// Given back early by requests that only wait.
    pub under_way: Arc<UnderWay>,
}

pub(super) type Reply = Result<Response, Problem>;

impl<S: Sync> FromRequest<S> for OfficeRequest {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let admitted = parts.extensions.remove::<Admitted>().ok_or(Problem::from(Code::Internal))?;
        let Admitted { office, trace, under_way } = admitted;
        Ok(Self { office, trace, headers: parts.headers, body, under_way })
    }
}

/// What stands where the route's path has its parameter; percent-encoded characters count as what they stand for (RFC 3986,
/// section 6.2.2.2). What cannot be one names nothing that exists.
pub(super) struct PathParameter<T>(pub T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for PathParameter<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.ok();
        let parsed = text.and_then(|Path(text)| text.parse().ok());
        parsed.map(Self).ok_or_else(|| Code::RequestNotFound.into())
    }
}
