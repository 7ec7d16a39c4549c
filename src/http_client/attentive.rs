//! The usual algorithms of TLS, each with an eye on what it decrypts: of some records the library does not tell what they
//! were, or when they came.

use super::{first_word, renegotiation};
use rustls::{
    SupportedCipherSuite,
    crypto::{CipherSuiteCommon, CryptoProvider},
};
use std::sync::{Arc, LazyLock};

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
    match suite {
        SupportedCipherSuite::Tls12(usual) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(renegotiation::attentive(usual, copied(&usual.common)))))
        }
        SupportedCipherSuite::Tls13(usual) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(first_word::attentive(usual, copied(&usual.common)))))
        }
    }
}

fn copied(common: &CipherSuiteCommon) -> CipherSuiteCommon {
    CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: common.confidentiality_limit,
    }
}
