//! An HTTP message comes in; the fields of its RFC 9421 signature and RFC 9530 digest go out, or their verdict.

mod base;
mod sign;
mod verify;

pub use base::is_component;
pub use sign::{HttpSeal, HttpSignatureError, sign};
pub use verify::{HttpSignatureRefusal, VerifiedHttp, verify, verify_but_for_replay};

use super::Algorithm;
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
fn name_of(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::RsaSha256 => Some("rsa-v1_5-sha256"),
        Algorithm::EcdsaSha256 => Some("ecdsa-p256-sha256"),
        Algorithm::RsaSha1 => None,
    }
}
