//! Any error of a connection comes in; whether TLS failed, and over whose certificate, goes out in plain words. When it
//! happened is not known here, so nothing here says whether anything was sent.

use super::first_word::RefusedFirst;
use crate::network_errors::{about_certificate, alert_name, of_tls, sources};
use rustls::{AlertDescription, PeerMisbehaved};
use std::error::Error;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// The server's certificate is not the one expected.
    #[error("the server's certificate: {0}")]
    ServerCertificate(String),
    /// The server says that it does not take ours.
    #[error("the server says that it refuses our certificate: {0}")]
    OurCertificate(String),
    /// The same, in TLS 1.3, before it has said anything else after its Finished.
    #[error("the server says that it refuses our certificate: {0}")]
    OurCertificateFirst(String),
    /// The other side wanted another handshake on the same connection.
    #[error("the other side wanted a new handshake on the same connection")]
    Renegotiation,
    #[error("{0}")]
    Other(String),
}

pub fn tls_failure(error: &(dyn Error + 'static)) -> Option<TlsFailure> {
    sources(error).find_map(|source| source.downcast_ref::<rustls::Error>()).map(classify)
}

fn classify(error: &rustls::Error) -> TlsFailure {
    tracing::debug!(?error, "TLS failed");
    match error {
        rustls::Error::InvalidCertificate(fault) => TlsFailure::ServerCertificate(about_certificate(fault)),
        rustls::Error::NoCertificatesPresented => TlsFailure::ServerCertificate("none was shown".into()),
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        rustls::Error::PeerMisbehaved(PeerMisbehaved::TooManyRenegotiationRequests) => TlsFailure::Renegotiation,
        rustls::Error::Other(other) if let Some(RefusedFirst(alert)) = other.0.downcast_ref() => {
            TlsFailure::OurCertificateFirst(sent_alert(*alert))
        }
        other => TlsFailure::Other(of_tls(other)),
    }
}

fn of_alert(alert: AlertDescription) -> TlsFailure {
    let text = sent_alert(alert);
    match alert {
        AlertDescription::BadCertificate
        | AlertDescription::NoCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::CertificateRequired => TlsFailure::OurCertificate(text),
        _ => TlsFailure::Other(text),
    }
}

fn sent_alert(alert: AlertDescription) -> String {
    format!("it sent the alert {}", alert_name(alert))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::CertificateError;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    fn failure(error: rustls::Error) -> Option<TlsFailure> {
        tls_failure(&Outer(io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))))
    }

    #[test]
    fn a_certificate_fault_is_found_however_deep_it_is_wrapped() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(matches!(failure(tls), Some(TlsFailure::ServerCertificate(_))));
    }

    #[test]
    fn other_errors_are_not_taken_for_tls() {
        let reset = Outer(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(tls_failure(&reset), None);
        let alert = rustls::Error::AlertReceived(AlertDescription::AccessDenied);
        let text = "it sent the alert access_denied".to_owned();
        assert_eq!(failure(alert), Some(TlsFailure::OurCertificate(text)));
    }

    #[test]
    fn no_librarys_name_is_told() {
        for number in 0..=255 {
            let text = failure(rustls::Error::AlertReceived(AlertDescription::from(number))).unwrap().to_string();
            assert!(!text.contains("Unknown(") && text == text.to_lowercase(), "{text}");
        }
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(!failure(plain).unwrap().to_string().contains("ContentType"));
    }
}
