//! Any error of a connection comes in; whether TLS failed, and over whose certificate, goes out in plain words. When it
//! happened is not known here, so nothing here says whether anything was sent.

use super::first_word::RefusedFirst;
use rustls::{AlertDescription, CertificateError, PeerMisbehaved};
use std::{error::Error, io};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// The server's certificate is not the one expected.
    #[error("the server's certificate: {0}")]
    ServerCertificate(String),
    /// The server says that it does not take ours.
    #[error("the server says that it refuses our certificate: {0}")]
    OurCertificate(String),
    /// The same, in TLS 1.3, before it has said anything else after its Finished.
    #[error("the server refuses our certificate: {0}")]
    OurCertificateFirst(String),
    /// The server wanted another handshake on the same connection.
    #[error("the server wanted a new handshake on the same connection")]
    Renegotiation,
    #[error("{0}")]
    Other(String),
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

/// The innermost reason, without the URL.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    sources(error).last().map_or_else(String::new, ToString::to_string)
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
        other => TlsFailure::Other(words(other).into()),
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
        AlertDescription::NoRenegotiation => TlsFailure::Renegotiation,
        _ => TlsFailure::Other(text),
    }
}

fn sent_alert(alert: AlertDescription) -> String {
    format!("it sent the alert {}", alert_name(alert))
}

/// In the words of RFC 8446, section 6, and RFC 5246, section 7.2.
fn alert_name(alert: AlertDescription) -> String {
    let name = match alert {
        AlertDescription::CloseNotify => "close_notify",
        AlertDescription::UnexpectedMessage => "unexpected_message",
        AlertDescription::BadRecordMac => "bad_record_mac",
        AlertDescription::RecordOverflow => "record_overflow",
        AlertDescription::HandshakeFailure => "handshake_failure",
        AlertDescription::NoCertificate => "no_certificate",
        AlertDescription::BadCertificate => "bad_certificate",
        AlertDescription::UnsupportedCertificate => "unsupported_certificate",
        AlertDescription::CertificateRevoked => "certificate_revoked",
        AlertDescription::CertificateExpired => "certificate_expired",
        AlertDescription::CertificateUnknown => "certificate_unknown",
        AlertDescription::IllegalParameter => "illegal_parameter",
        AlertDescription::UnknownCA => "unknown_ca",
        AlertDescription::AccessDenied => "access_denied",
        AlertDescription::DecodeError => "decode_error",
        AlertDescription::DecryptError => "decrypt_error",
        AlertDescription::ProtocolVersion => "protocol_version",
        AlertDescription::InsufficientSecurity => "insufficient_security",
        AlertDescription::InternalError => "internal_error",
        AlertDescription::UserCanceled => "user_canceled",
        AlertDescription::NoRenegotiation => "no_renegotiation",
        AlertDescription::MissingExtension => "missing_extension",
        AlertDescription::UnsupportedExtension => "unsupported_extension",
        AlertDescription::UnrecognisedName => "unrecognized_name",
        AlertDescription::CertificateRequired => "certificate_required",
        AlertDescription::NoApplicationProtocol => "no_application_protocol",
        other => return format!("number {}", u8::from(other)),
    };
    name.to_owned()
}

fn words(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidMessage(_) => "what came is no TLS: another protocol, plain text, or a damaged record",
        rustls::Error::InappropriateMessage { .. } | rustls::Error::InappropriateHandshakeMessage { .. } => {
            "a message came that does not belong there"
        }
        rustls::Error::DecryptError => "a record came that cannot be decrypted",
        rustls::Error::PeerSentOversizedRecord => "a record came that is larger than TLS allows",
        rustls::Error::PeerIncompatible(_) => {
            "the server offers no version or algorithm of TLS that is used here: TLS 1.2 or 1.3 with forward secrecy"
        }
        rustls::Error::PeerMisbehaved(_) => "the server does not keep to TLS's rules",
        rustls::Error::NoApplicationProtocol => "the server does not speak HTTP/1.1",
        rustls::Error::InvalidCertRevocationList(_) => "a revocation list cannot be used",
        _ => "TLS failed on this side",
    }
}

fn about_certificate(fault: &CertificateError) -> String {
    let text = match fault {
        CertificateError::BadEncoding => "it is malformed",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::Revoked => "its issuer has revoked it",
        CertificateError::UnhandledCriticalExtension => "it has a critical extension that is not known here",
        CertificateError::UnknownIssuer => "it was not issued by an authority in the agency's `ca` file",
        CertificateError::UnknownRevocationStatus => "no revocation list tells of it",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "the revocation list that tells of it has passed its next update"
        }
        CertificateError::BadSignature => "its signature is wrong",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the endpoint's host is not among its alternative names"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not meant for a TLS server"
        }
        CertificateError::ApplicationVerificationFailure => "it is not the one that is pinned",
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it, or its issuer, is signed by an algorithm that is not accepted"
        }
        CertificateError::Other(other) => return innermost(other.0.as_ref()),
        _ => "it is not accepted",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
