//! What every answer has: the trace of its request, and what no cache, browser or next request may do with it.

use crate::domain::TraceParent;
use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, Version, header};

/// The request's id: the trace that it belongs to, or a new one. More than one `traceparent` is none (W3C Trace Context,
/// section 3.2.1).
pub fn trace_of(headers: &HeaderMap) -> TraceParent {
    let mut fields = headers.get_all("traceparent").iter();
    let field = fields.next().filter(|_| fields.next().is_none());
    TraceParent::taken_up(field.and_then(|field| field.to_str().ok()))
}

/// Whether another request may follow on the same connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    KeepAlive,
    Close,
}

pub fn complete(response: &mut Response<Body>, trace: &TraceParent, version: Version, after: After) {
    let headers = response.headers_mut();
    if let Ok(trace) = HeaderValue::from_str(&trace.to_string()) {
        headers.insert("traceparent", trace);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // RFC 9113, section 8.2.2: HTTP/2 knows no such header; there the connection is closed by its own means.
    if after == After::Close && version < Version::HTTP_2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}
