//! Why a request is refused: a code and what is wrong where come in, an RFC 9457 problem goes out.

use super::status::status_of;
use crate::{
    domain::{Code, SchemaFault, SubmissionId, TraceParent, redact_for_display},
    json::{JsonFault, JsonFaultKind},
};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use serde::Serialize;
use std::time::Duration;

const LONGEST_POINTER_CHARS: usize = 1000;

#[derive(Debug, Clone)]
pub struct Problem {
    pub code: Code,
    /// What is wrong where; it never quotes a value.
    pub errors: Vec<SchemaFault>,
    pub retry_after: Option<Duration>,
    /// For a wrong method: those that the address takes.
    pub allow: Option<String>,
    /// For a key that was used before: by whom.
    pub submission: Option<SubmissionId>,
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    trace_id: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [SchemaFault],
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_secs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    submission: Option<SubmissionId>,
}

impl Problem {
    pub fn with_errors(code: Code, mut errors: Vec<SchemaFault>) -> Self {
        // A pointer is made of the sender's own names, and somebody may have put a person's number there.
        errors.iter_mut().for_each(|error| error.pointer = redact_for_display(&error.pointer, LONGEST_POINTER_CHARS));
        Self { errors, ..code.into() }
    }

    /// One fault at one place.
    pub fn at(code: Code, pointer: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::with_errors(code, vec![SchemaFault { pointer: pointer.into(), problem: problem.into() }])
    }

    /// The key belongs to another body of the same office: its submission may be named.
    pub fn reused_key(first: SubmissionId) -> Self {
        let problem = format!("was used for submission {first}, with another body");
        Self { submission: Some(first), ..Self::at(Code::IdempotencyKeyReused, "Idempotency-Key", problem) }
    }

    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// As the answer to a request of this trace.
    pub fn into_response_of(self, trace: &TraceParent) -> Response<Body> {
        let status = status_of(self.code);
        let retry_after_secs = self.retry_after.map(|wait| wait.as_secs_f64().ceil().max(1.0) as u64);
        let written = Written {
            kind: format!("urn:punte:problem:{}", self.code),
            title: self.code.public_text(),
            status: status.as_u16(),
            code: self.code.as_str(),
            trace_id: trace.trace_id(),
            errors: &self.errors,
            retry_after_secs,
            submission: self.submission,
        };
        let mut response = Response::new(Body::from(serde_json::to_vec(&written).unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(secs) = retry_after_secs {
            headers.insert(header::RETRY_AFTER, secs.into());
        }
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        let retry_after = matches!(
            code,
            Code::Overloaded
                | Code::ShuttingDown
                | Code::JournalUnavailable
                | Code::RateLimited
                | Code::AttachmentQuota
        )
        .then_some(Duration::from_secs(5));
        Self { code, errors: Vec::new(), retry_after, allow: None, submission: None }
    }
}

impl From<JsonFault> for Problem {
    fn from(fault: JsonFault) -> Self {
        let code = match fault.kind {
            JsonFaultKind::NotUtf8 => Code::RequestNotUtf8,
            JsonFaultKind::Invalid => Code::RequestInvalidJson,
            JsonFaultKind::TooDeep => Code::RequestTooDeep,
            JsonFaultKind::TooMany => Code::RequestTooLarge,
            JsonFaultKind::DuplicateKey => Code::RequestDuplicateKey,
        };
        Self::at(code, fault.pointer, fault.problem)
    }
}

/// Handlers and extractors do not know the request's trace: the problem travels among the response's extensions to
/// [`Problem::take_from`], where it is written.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = status_of(self.code).into_response();
        response.extensions_mut().insert(Refused(Box::new(self)));
        response
    }
}

#[derive(Clone)]
struct Refused(Box<Problem>);

impl Problem {
    /// The problem that a handler or extractor has answered with, if this response is one.
    pub fn take_from(response: &mut Response) -> Option<Self> {
        response.extensions_mut().remove::<Refused>().map(|Refused(problem)| *problem)
    }
}
