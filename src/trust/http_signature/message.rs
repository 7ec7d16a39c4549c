//! What is signed, and by which names the algorithms go.

use crate::trust::Algorithm;
use http::{HeaderMap, Method, StatusCode, Uri};

/// A message as it goes over the wire.
#[derive(Debug, Clone, Copy)]
pub struct HttpMessage<'a> {
    pub start: HttpStart<'a>,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
pub enum HttpStart<'a> {
    /// The URI must be absolute: scheme and authority are covered too.
    Request {
        method: &'a Method,
        uri: &'a Uri,
    },
    Response {
        status: StatusCode,
    },
}

/// RFC 9421 §6.2.2.
pub(super) fn name_of(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::RsaSha256 => Some("rsa-v1_5-sha256"),
        Algorithm::EcdsaSha256 => Some("ecdsa-p256-sha256"),
        Algorithm::RsaSha1 => None,
    }
}
