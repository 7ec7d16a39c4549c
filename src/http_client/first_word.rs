//! Sees that the first that a server of TLS 1.3 says after its Finished is that it refuses our certificate.
//!
//! Our side of that handshake ends before the server has seen our certificate, and the request follows at once (RFC 8446,
//! section 2). A refusal that comes first, in the place of a session ticket or an answer, is still of the handshake; one that
//! comes after anything else may be about what was asked. The error that TLS ends with carries which it was, so that it is
//! known of this very connection, whoever meets the error.

use super::{
    noted::{HasAsked, noted_in},
    unasked::{self, noting_requests},
};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, OtherError, Tls13CipherSuite,
    crypto::{
        CipherSuiteCommon,
        cipher::{
            AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter,
            Tls13AeadAlgorithm, UnsupportedOperationError,
        },
    },
};
use std::sync::Arc;

/// What TLS ends with in the place of such an alert.
#[derive(Debug, thiserror::Error)]
#[error("the server refused our certificate before it said anything else")]
pub(super) struct RefusedFirst(pub AlertDescription);

pub(super) fn attentive(usual: &'static Tls13CipherSuite, common: CipherSuiteCommon) -> Tls13CipherSuite {
    let Tls13CipherSuite { common: _, hkdf_provider, aead_alg, quic } = usual;
    let aead_alg = Box::leak(Box::new(Attentive(*aead_alg)));
    Tls13CipherSuite { common, hkdf_provider: *hkdf_provider, aead_alg, quic: *quic }
}

struct Attentive(&'static dyn Tls13AeadAlgorithm);

impl Tls13AeadAlgorithm for Attentive {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        noting_requests(self.0.encrypter(key, iv))
    }

    /// Keys that are changed later begin to count anew; only those of the handshake begin with the first word.
    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        let inner = self.0.decrypter(key, iv);
        match noted_in() {
            Some(noted) => Box::new(AttentiveDecrypter { inner, has_asked: noted.has_asked }),
            None => inner,
        }
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(&self, key: AeadKey, iv: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct AttentiveDecrypter {
    inner: Box<dyn MessageDecrypter>,
    has_asked: HasAsked,
}

impl MessageDecrypter for AttentiveDecrypter {
    fn decrypt<'a>(&mut self, message: InboundOpaqueMessage<'a>, seq: u64) -> Result<InboundPlainMessage<'a>, Error> {
        let plain = self.inner.decrypt(message, seq)?;
        unasked::check(&plain, &self.has_asked)?;
        match (seq, plain.typ, plain.payload) {
            (0, ContentType::Alert, &[_, number]) if is_of_handshake(number.into()) => {
                Err(Error::Other(OtherError(Arc::new(RefusedFirst(number.into())))))
            }
            _ => Ok(plain),
        }
    }
}

/// About a certificate, and nothing else (RFC 8446, section 6.2). `access_denied` is not among them: it may as well be about
/// what was asked.
fn is_of_handshake(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateRequired
    )
}
