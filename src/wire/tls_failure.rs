//! Any error of a connection comes in; whether TLS failed, and on whose certificate, goes out.

use std::{error::Error, io};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// The other side's certificate is not the one expected.
    #[error("the peer's certificate: {0}")]
    PeerCertificate(String),
    /// Anything else in the handshake, refusals of the other side included.
    #[error("TLS: {0}")]
    Handshake(String),
    /// After the handshake: what was sent may have been read.
    #[error("TLS: {0}")]
    Later(String),
}

pub fn tls_failure(error: &(dyn Error + 'static)) -> Option<TlsFailure> {
    sources(error).find_map(|source| source.downcast_ref::<rustls::Error>()).map(classify)
}

/// The error and all that is inside it. What an I/O error was made of is no `source` of it.
pub(super) fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // Errors' chains are short; the bound only keeps a wrong implementation of `source` from looping.
    std::iter::successors(Some(error), |&error| {
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inside.map_or_else(|| error.source(), |inner| Some(inner as &(dyn Error + 'static)))
    })
    .take(32)
}

fn classify(error: &rustls::Error) -> TlsFailure {
    match error {
        rustls::Error::InvalidCertificate(fault) => TlsFailure::PeerCertificate(fault.to_string()),
        rustls::Error::NoCertificatesPresented => TlsFailure::PeerCertificate("none was shown".into()),
        rustls::Error::AlertReceived(alert) if !is_about_handshake(*alert) => TlsFailure::Later(error.to_string()),
        other => TlsFailure::Handshake(other.to_string()),
    }
}

/// In TLS 1.3 the other side's refusal of our certificate arrives only after our part of the handshake, as an alert on
/// the first read; the request has then not been read either.
fn is_about_handshake(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        alert,
        Alert::HandshakeFailure
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::ProtocolVersion
            | Alert::InsufficientSecurity
            | Alert::NoApplicationProtocol
            | Alert::CertificateRequired
            | Alert::UnrecognisedName
    )
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
