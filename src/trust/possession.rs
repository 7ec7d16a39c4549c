//! A handshake's signature and the certificate that was shown come in; whether its key made the signature goes out.
//!
//! The TLS library reads no certificate of an old version or a malformed one, and would end the handshake with a bare alert.
//! At the gateway such a client shall learn in words what is wrong with its certificate: so there the key alone counts here, and
//! the certificate is refused afterwards.

use rustls::{
    CertificateError, DigitallySignedStruct, Error,
    client::danger::HandshakeSignatureValid,
    crypto::{
        WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
    },
    pki_types::{CertificateDer, SubjectPublicKeyInfoDer},
};
use webpki::{EndEntityCert, RawPublicKeyEntity};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What was signed, with which signature.
pub(super) struct Proof<'a> {
    pub message: &'a [u8],
    pub signed: &'a DigitallySignedStruct,
    pub algorithms: &'a WebPkiSupportedAlgorithms,
}

impl Proof<'_> {
    pub fn holds_in_tls12(&self, shown: &CertificateDer<'_>) -> Result<HandshakeSignatureValid, Error> {
        match key_of_unread(shown) {
            Some(key) => self.holds_by_key(&key),
            None => verify_tls12_signature(self.message, shown, self.signed, self.algorithms),
        }
    }

    pub fn holds_in_tls13(&self, shown: &CertificateDer<'_>) -> Result<HandshakeSignatureValid, Error> {
        match key_of_unread(shown) {
            Some(key) => verify_tls13_signature_with_raw_key(self.message, &key, self.signed, self.algorithms),
            None => verify_tls13_signature(self.message, shown, self.signed, self.algorithms),
        }
    }

    fn holds_by_key(&self, key: &SubjectPublicKeyInfoDer<'_>) -> Result<HandshakeSignatureValid, Error> {
        let refused = || Error::InvalidCertificate(CertificateError::BadSignature);
        let key = RawPublicKeyEntity::try_from(key).map_err(|_| refused())?;
        let fitting = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == self.signed.scheme);
        let mut algorithms = fitting.flat_map(|(_, algorithms)| algorithms.iter());
        match algorithms.any(|it| key.verify_signature(*it, self.message, self.signed.signature()).is_ok()) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(refused()),
        }
    }
}

/// The public key of a certificate that we can read and the TLS library cannot.
fn key_of_unread(shown: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    if EndEntityCert::try_from(shown).is_ok() {
        return None;
    }
    let (_, parsed) = X509Certificate::from_der(shown).ok()?;
    Some(SubjectPublicKeyInfoDer::from(parsed.public_key().raw.to_vec()))
}
