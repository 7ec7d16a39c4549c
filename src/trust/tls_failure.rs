//! Any error of a connection comes in; whether TLS failed, and on whose certificate, goes out.

use std::{error::Error, io};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// The other side's certificate is not the one expected.
    #[error("the peer's certificate: {0}")]
    PeerCertificate(String),
    /// Anything else in the handshake or the record layer, alerts of the other side included.
    #[error("TLS: {0}")]
    Handshake(String),
}

/// Walks the chain of sources, and into `io::Error`, whose own `source` would skip the error it wraps.
pub fn tls_failure(error: &(dyn Error + 'static)) -> Option<TlsFailure> {
    let mut next = Some(error);
    // Errors' chains are short; the bound only keeps a wrong implementation of `source` from looping.
    for _ in 0..32 {
        let here = next?;
        if let Some(tls) = here.downcast_ref::<rustls::Error>() {
            return Some(classify(tls));
        }
        next = match here.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => here.source(),
        };
    }
    None
}

fn classify(error: &rustls::Error) -> TlsFailure {
    match error {
        rustls::Error::InvalidCertificate(fault) => TlsFailure::PeerCertificate(fault.to_string()),
        rustls::Error::NoCertificatesPresented => TlsFailure::PeerCertificate("none was shown".into()),
        other => TlsFailure::Handshake(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::CertificateError;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_certificate_fault_is_found_however_deep_it_is_wrapped() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = Outer(io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls)));
        assert!(matches!(tls_failure(&wrapped), Some(TlsFailure::PeerCertificate(_))));
    }

    #[test]
    fn other_errors_are_not_taken_for_tls() {
        let reset = Outer(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(tls_failure(&reset), None);
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::AccessDenied);
        assert!(matches!(tls_failure(&Outer(io::Error::other(alert))), Some(TlsFailure::Handshake(_))));
    }
}
