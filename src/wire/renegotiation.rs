//! Sees that a server asks for a new handshake on a connection of TLS 1.2. The TLS library only says no to that, and what the
//! server then does looks like any other broken connection.
//!
//! The only message of a handshake that a server may send after its Finished is such a request (RFC 5246, section 7.4.1.1).
//! Whoever decrypts the records sees what kind each is.

use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, SupportedCipherSuite, Tls12CipherSuite,
    crypto::{
        CryptoProvider,
        cipher::{
            AeadKey, InboundOpaqueMessage, InboundPlainMessage, KeyBlockShape, MessageDecrypter, MessageEncrypter,
            Tls12AeadAlgorithm, UnsupportedOperationError,
        },
    },
};
use std::{
    cell::RefCell,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// How often the servers that one client talks to have asked for it.
pub(super) type Renegotiations = Arc<AtomicU64>;

thread_local! {
    /// Where connections note it whose handshake is polled on this thread now.
    static NOTED_IN: RefCell<Option<Renegotiations>> = const { RefCell::new(None) };
}

/// Connections whose handshake `poll` goes on with note in `counter` what is asked of them later.
pub(super) fn noting<T>(counter: &Renegotiations, poll: impl FnOnce() -> T) -> T {
    NOTED_IN.set(Some(counter.clone()));
    let polled = poll();
    NOTED_IN.take();
    polled
}

/// The usual algorithms, those of TLS 1.2 with an eye on what they decrypt.
pub fn attentive_provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites.iter_mut().for_each(|suite| *suite = attentive(*suite));
        Arc::new(provider)
    });
    PROVIDER.clone()
}

/// The library keeps suites forever, so each is made once.
fn attentive(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let SupportedCipherSuite::Tls12(usual) = suite else { return suite };
    let Tls12CipherSuite { common, prf_provider, kx, sign, aead_alg } = usual;
    let common = rustls::crypto::CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: common.confidentiality_limit,
    };
    let aead_alg = Box::leak(Box::new(Attentive(*aead_alg)));
    let attentive = Tls12CipherSuite { common, prf_provider: *prf_provider, kx: *kx, sign, aead_alg };
    SupportedCipherSuite::Tls12(Box::leak(Box::new(attentive)))
}

struct Attentive(&'static dyn Tls12AeadAlgorithm);

impl Tls12AeadAlgorithm for Attentive {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        self.0.encrypter(key, iv, extra)
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        let inner = self.0.decrypter(key, iv);
        match NOTED_IN.with_borrow(Clone::clone) {
            Some(noted_in) => Box::new(AttentiveDecrypter { inner, noted_in }),
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
    noted_in: Renegotiations,
}

impl MessageDecrypter for AttentiveDecrypter {
    fn decrypt<'a>(&mut self, message: InboundOpaqueMessage<'a>, seq: u64) -> Result<InboundPlainMessage<'a>, Error> {
        let plain = self.inner.decrypt(message, seq)?;
        // The first encrypted message is the server's Finished.
        if seq > 0 && plain.typ == ContentType::Handshake {
            self.noted_in.fetch_add(1, Ordering::Relaxed);
        }
        Ok(plain)
    }
}
