//! Sees that a server says something on a new connection before it was asked: what came before the first byte of a request left
//! is no answer to it.
//!
//! HTTP itself cannot tell: whatever stands on the connection when the request has been written is read as its answer. Whoever
//! seals and opens the records sees which came first. The error that TLS ends with carries the connection's own count, so that
//! whoever meets the error can still see that nothing was sent.

use super::noted::{HasAsked, noted_in};
use crate::network_errors::sources;
use rustls::{
    ContentType, Error, OtherError,
    crypto::cipher::{InboundPlainMessage, MessageEncrypter, OutboundOpaqueMessage, OutboundPlainMessage},
};
use std::sync::{Arc, atomic::Ordering};

/// What TLS ends with when the server's word comes first.
#[derive(Debug, thiserror::Error)]
#[error("the server spoke before it was asked")]
struct Unasked(HasAsked);

/// Whether that is why the connection has ended, and nothing has been sent on it.
pub(super) fn is_unasked(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_tls = sources(error).find_map(|source| source.downcast_ref::<Error>());
    let Some(Error::Other(other)) = of_tls else { return false };
    other.0.downcast_ref().is_some_and(|Unasked(has_asked)| !has_asked.load(Ordering::Relaxed))
}

/// An empty record says nothing: some servers send one before each of theirs.
pub(super) fn check(plain: &InboundPlainMessage<'_>, has_asked: &HasAsked) -> Result<(), Error> {
    match plain.typ {
        ContentType::ApplicationData if !plain.payload.is_empty() && !has_asked.load(Ordering::Relaxed) => {
            Err(Error::Other(OtherError(Arc::new(Unasked(has_asked.clone())))))
        }
        _ => Ok(()),
    }
}

/// Notes the first byte of a request, if the connection is watched.
pub(super) fn noting_requests(inner: Box<dyn MessageEncrypter>) -> Box<dyn MessageEncrypter> {
    match noted_in() {
        Some(noted) => Box::new(Sealing { inner, has_asked: noted.has_asked }),
        None => inner,
    }
}

struct Sealing {
    inner: Box<dyn MessageEncrypter>,
    has_asked: HasAsked,
}

impl MessageEncrypter for Sealing {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, seq: u64) -> Result<OutboundOpaqueMessage, Error> {
        if message.typ == ContentType::ApplicationData {
            self.has_asked.store(true, Ordering::Relaxed);
        }
        self.inner.encrypt(message, seq)
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        self.inner.encrypted_payload_len(payload_len)
    }
}
