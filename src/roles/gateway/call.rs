//! Call: what a handler is given of a request whose office was recognised, and what it gives back.

use super::{Problem, body::RequestBody, limits::UnderWay, office_directory::KnownOffice};
use crate::domain::{Code, SubmissionId, TraceParent};
use axum::body::Body;
use http::{HeaderMap, Response};
use std::sync::Arc;

/// One request of an office that was recognised.
pub struct Call {
    pub(super) office: Arc<KnownOffice>,
    pub(super) trace: TraceParent,
    pub(super) headers: HeaderMap,
    pub(super) query: Option<String>,
    /// What stands where the route's path has a parameter.
    pub(super) parameter: Option<String>,
    pub(super) body: RequestBody,
    /// Given back early by requests that only wait.
    pub(super) under_way: UnderWay,
}

pub type Reply = Result<Response<Body>, Problem>;

impl Call {
    pub(super) fn submission_id(&self) -> Result<SubmissionId, Problem> {
        let id = self.parameter.as_deref().and_then(|text| text.parse().ok());
        id.ok_or_else(|| Code::RequestNotFound.into())
    }

    pub(super) fn query_pairs(&self) -> Vec<(String, String)> {
        let address = format!("https://gateway/?{}", self.query.as_deref().unwrap_or_default());
        let pairs = reqwest::Url::parse(&address).map(|url| url.query_pairs().into_owned().collect());
        pairs.unwrap_or_default()
    }
}
