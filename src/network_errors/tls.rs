//! TLS: what the library says comes in, plain words go out. The library does not tell whether the other side is a server or a
//! client, so the words do not either.

use super::sources::sources;
use rustls::{AlertDescription, CertificateError, Error};

/// Whatever went wrong.
pub fn of_tls(error: &Error) -> String {
    let text = match error {
        Error::InvalidCertificate(fault) => {
            return format!("the other side's certificate: {}", about_certificate(fault));
        }
        Error::AlertReceived(alert) => return format!("it sent the alert {}", alert_name(*alert)),
        Error::NoCertificatesPresented => "the other side shows no certificate",
        Error::InvalidMessage(_) => "what came is no TLS: another protocol, plain text, or a damaged record",
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "a message came that does not belong there"
        }
        Error::DecryptError => "a record came that cannot be decrypted",
        Error::PeerSentOversizedRecord => "a record came that is larger than TLS allows",
        Error::PeerIncompatible(_) => {
            "the other side offers no version or algorithm of TLS that is used here: TLS 1.2 or 1.3 with forward secrecy"
        }
        Error::PeerMisbehaved(_) => "the other side does not keep to TLS's rules",
        Error::NoApplicationProtocol => "the other side speaks no version of HTTP that is spoken here",
        Error::InvalidCertRevocationList(_) => "a revocation list cannot be used",
        _ => "TLS failed on this side",
    };
    text.to_owned()
}

/// In the words of RFC 8446, section 6, RFC 5246, section 7.2, RFC 6066, section 9, and RFC 7507.
pub fn alert_name(alert: AlertDescription) -> String {
    let name = match u8::from(alert) {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        other => return format!("{other}, which is not known"),
    };
    name.to_owned()
}

pub fn about_certificate(fault: &CertificateError) -> String {
    let text = match fault {
        CertificateError::BadEncoding => "it is malformed",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::Revoked => "its issuer has revoked it",
        CertificateError::UnhandledCriticalExtension => "it has a critical extension that is not known here",
        CertificateError::UnknownIssuer => "it was not issued by an authority in the `ca` file",
        CertificateError::UnknownRevocationStatus => "no revocation list tells of it",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "the revocation list that tells of it has passed its next update"
        }
        CertificateError::BadSignature => "its signature is wrong",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the host's name is not among its alternative names"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not meant for a TLS server"
        }
        CertificateError::ApplicationVerificationFailure => "it is not the one that is pinned",
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it, or its issuer, is signed by an algorithm that is not accepted"
        }
        // Our own words: the library hands on what our verifier says.
        CertificateError::Other(other) => {
            return sources(other.0.as_ref()).last().map_or_else(String::new, ToString::to_string);
        }
        _ => "it is not accepted",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{InvalidMessage, PeerIncompatible, PeerMisbehaved};

    #[test]
    fn the_words_fit_whichever_side_we_are() {
        for error in [
            Error::InvalidCertificate(CertificateError::Expired),
            Error::NoCertificatesPresented,
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::DecryptError,
            Error::PeerSentOversizedRecord,
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::PeerMisbehaved(PeerMisbehaved::TooManyRenegotiationRequests),
            Error::NoApplicationProtocol,
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            Error::EncryptError,
        ] {
            let text = of_tls(&error);
            assert!(!text.contains("server") && !text.contains("client"), "{error:?}: {text}");
        }
    }
}
