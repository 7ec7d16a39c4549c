//! Sees that a server asks for a new handshake on a connection of TLS 1.2. The TLS library only says no to that, and what the
//! server then does looks like any other broken connection.
//!
//! The only message of a handshake that a server may send after its Finished is such a request (RFC 5246, section 7.4.1.1).
//! Whoever decrypts the records sees what kind each is.

use super::{
    noted::{Noted, noted_in},
    unasked::{self, noting_requests},
};
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, Tls12CipherSuite,
    crypto::{
        CipherSuiteCommon,
        cipher::{
            AeadKey, InboundOpaqueMessage, InboundPlainMessage, KeyBlockShape, MessageDecrypter, MessageEncrypter,
            Tls12AeadAlgorithm, UnsupportedOperationError,
        },
    },
};
use std::sync::atomic::Ordering;

/// The suite with an eye on what it decrypts.
pub(super) fn attentive(usual: &'static Tls12CipherSuite, common: CipherSuiteCommon) -> Tls12CipherSuite {
    let Tls12CipherSuite { common: _, prf_provider, kx, sign, aead_alg } = usual;
    let aead_alg = Box::leak(Box::new(Attentive(*aead_alg)));
    Tls12CipherSuite { common, prf_provider: *prf_provider, kx: *kx, sign, aead_alg }
}

struct Attentive(&'static dyn Tls12AeadAlgorithm);

impl Tls12AeadAlgorithm for Attentive {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        noting_requests(self.0.encrypter(key, iv, extra))
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        let inner = self.0.decrypter(key, iv);
        match noted_in() {
            Some(noted) => Box::new(AttentiveDecrypter { inner, noted }),
            None => inner,
        }
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.0.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv, explicit)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct AttentiveDecrypter {
    inner: Box<dyn MessageDecrypter>,
    noted: Noted,
}

impl MessageDecrypter for AttentiveDecrypter {
    fn decrypt<'a>(&mut self, message: InboundOpaqueMessage<'a>, seq: u64) -> Result<InboundPlainMessage<'a>, Error> {
        let plain = self.inner.decrypt(message, seq)?;
        // The first encrypted message is the server's Finished.
        if seq > 0 && plain.typ == ContentType::Handshake {
            self.noted.renegotiations.fetch_add(1, Ordering::Relaxed);
        }
        unasked::check(&plain, &self.noted.has_asked)?;
        Ok(plain)
    }
}
