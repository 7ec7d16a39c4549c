//! The namespaces and identifiers of SOAP, WS-Security 1.0 and XML Signature.

use crate::trust::Algorithm;
use aws_lc_rs::digest;

pub(super) const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(super) const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";
pub(super) const SOAP12_ULTIMATE: &str = "http://www.w3.org/2003/05/soap-envelope/role/ultimateReceiver";

pub(super) const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
pub(super) const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
pub(super) const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
pub(in crate::trust) const EXC_C14N: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
pub(super) const XML: &str = "http://www.w3.org/XML/1998/namespace";

pub(super) const X509_V3: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3";
/// Certificates from the authority's down to the signer's own (X.509 token profile 1.0, section 3.1).
pub(super) const X509_PKI_PATH: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509PKIPathv1";
/// Of a reference to a token: the token itself is meant (WSS 1.0, section 8.3).
pub(in crate::trust) const STR_TRANSFORM: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#STR-Transform";
pub(super) const BASE64_BINARY: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary";
pub(super) const KEY_ID_SKI: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509SubjectKeyIdentifier";
pub(super) const KEY_ID_THUMBPRINT: &str =
    "http://docs.oasis-open.org/wss/oasis-wss-soap-message-security-1.1#ThumbprintSHA1";

pub(super) const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
const SHA1: &str = "http://www.w3.org/2000/09/xmldsig#sha1";

pub(super) fn uri_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RsaSha256 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        Algorithm::EcdsaSha256 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
        Algorithm::RsaSha1 => "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
    }
}

pub(super) fn algorithm_of(uri: &str) -> Option<Algorithm> {
    [Algorithm::RsaSha256, Algorithm::EcdsaSha256, Algorithm::RsaSha1]
        .into_iter()
        .find(|algorithm| uri_of(*algorithm) == uri)
}

/// The digest of references: SHA-1 only together with rsa-sha1.
pub(super) fn digest_of(uri: &str, sha1_allowed: bool) -> Option<&'static digest::Algorithm> {
    match uri {
        SHA256 => Some(&digest::SHA256),
        SHA1 if sha1_allowed => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        _ => None,
    }
}

/// What we sign references with: agencies that know only rsa-sha1 know only SHA-1.
pub(super) fn digest_for(algorithm: Algorithm) -> (&'static str, &'static digest::Algorithm) {
    match algorithm {
        Algorithm::RsaSha256 | Algorithm::EcdsaSha256 => (SHA256, &digest::SHA256),
        Algorithm::RsaSha1 => (SHA1, &digest::SHA1_FOR_LEGACY_USE_ONLY),
    }
}
