//! A private key or a certificate's public key comes in; signatures, or their verification, go out.

use super::legacy_sha1;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
        RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
        UnparsedPublicKey, VerificationAlgorithm,
    },
};
use rustls::pki_types::PrivateKeyDer;
use serde::{Deserialize, Serialize};
use std::fmt;
use x509_parser::prelude::SubjectPublicKeyInfo;

/// The signature algorithms that exist for Punte. Each protocol's own name for the same thing is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "rsa-sha256", alias = "RS256", alias = "rsa-v1_5-sha256")]
    RsaSha256,
    /// On the curve P-256 only.
    #[serde(rename = "ecdsa-sha256", alias = "ES256", alias = "ecdsa-p256-sha256")]
    EcdsaSha256,
    /// Broken against collisions; only for agencies that know nothing better.
    #[serde(rename = "rsa-sha1")]
    RsaSha1,
}

impl Algorithm {
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::RsaSha256 => "rsa-sha256",
            Algorithm::EcdsaSha256 => "ecdsa-sha256",
            Algorithm::RsaSha1 => "rsa-sha1",
        }
    }

    fn key_kind(self) -> KeyKind {
        match self {
            Algorithm::RsaSha256 | Algorithm::RsaSha1 => KeyKind::Rsa,
            Algorithm::EcdsaSha256 => KeyKind::P256,
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Algorithm::RsaSha256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::EcdsaSha256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::RsaSha1 => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    P256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("the key is neither RSA nor on the curve P-256")]
    Unsupported,
    #[error("the RSA key is shorter than 2048 bits")]
    TooShort,
    #[error("the key cannot sign with {0}")]
    Unfit(Algorithm),
    #[error("the signature could not be computed")]
    Failed,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
}

/// Signs, and never shows its key.
pub struct Signer {
    pair: Pair,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.default_algorithm())
    }
}

impl Signer {
    pub(super) fn from_key(key: &PrivateKeyDer<'_>) -> Result<Self, KeyFault> {
        let p256 = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = match key {
            PrivateKeyDer::Pkcs1(der) => {
                Pair::Rsa(Box::new(RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| KeyFault::Unsupported)?))
            }
            PrivateKeyDer::Sec1(der) => Pair::P256(
                EcdsaKeyPair::from_private_key_der(p256, der.secret_sec1_der()).map_err(|_| KeyFault::Unsupported)?,
            ),
            PrivateKeyDer::Pkcs8(der) => match RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()) {
                Ok(rsa) => Pair::Rsa(Box::new(rsa)),
                Err(_) => Pair::P256(
                    EcdsaKeyPair::from_pkcs8(p256, der.secret_pkcs8_der()).map_err(|_| KeyFault::Unsupported)?,
                ),
            },
            _ => return Err(KeyFault::Unsupported),
        };
        match &pair {
            Pair::Rsa(rsa) if rsa.public_modulus_len() < 256 => Err(KeyFault::TooShort),
            Pair::Rsa(_) | Pair::P256(_) => Ok(Self { pair }),
        }
    }

    /// The best algorithm for this key.
    pub fn default_algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Rsa(_) => Algorithm::RsaSha256,
            Pair::P256(_) => Algorithm::EcdsaSha256,
        }
    }

    pub fn fits(&self, algorithm: Algorithm) -> bool {
        algorithm.key_kind() == self.default_algorithm().key_kind()
    }

    /// PKCS#1 v1.5, or the raw `r || s` of ECDSA that XML-DSig, JWS and RFC 9421 all want.
    pub fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        match (&self.pair, algorithm) {
            (Pair::Rsa(rsa), Algorithm::RsaSha256) => {
                let mut signature = vec![0; rsa.public_modulus_len()];
                rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map_err(|_| KeyFault::Failed)?;
                Ok(signature)
            }
            (Pair::Rsa(rsa), Algorithm::RsaSha1) => legacy_sha1::sign(rsa, message).ok_or(KeyFault::Failed),
            (Pair::P256(key), Algorithm::EcdsaSha256) => {
                let signature = key.sign(&SystemRandom::new(), message).map_err(|_| KeyFault::Failed)?;
                Ok(signature.as_ref().to_vec())
            }
            (Pair::Rsa(_), Algorithm::EcdsaSha256) | (Pair::P256(_), Algorithm::RsaSha256 | Algorithm::RsaSha1) => {
                Err(KeyFault::Unfit(algorithm))
            }
        }
    }

    /// As a certificate's `subjectPublicKey` would hold it.
    pub(super) fn public_key(&self) -> &[u8] {
        match &self.pair {
            Pair::Rsa(rsa) => rsa.public_key().as_ref(),
            Pair::P256(key) => key.public_key().as_ref(),
        }
    }
}

/// A public key out of a certificate, with its kind pinned: an algorithm of the other kind never verifies.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    bytes: Vec<u8>,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?})", self.kind)
    }
}

impl PublicKey {
    /// RFC 3279 §2.3: rsaEncryption, or id-ecPublicKey on prime256v1. Nothing else is supported.
    pub(super) fn from_spki(spki: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let curve = || spki.algorithm.parameters.as_ref()?.as_oid().ok().map(|oid| oid.to_id_string());
        let kind = match spki.algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.1" => KeyKind::Rsa,
            "1.2.840.10045.2.1" if curve().as_deref() == Some("1.2.840.10045.3.1.7") => KeyKind::P256,
            _ => return None,
        };
        Some(Self { kind, bytes: spki.subject_public_key.data.to_vec() })
    }

    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes
    }

    pub fn fits(&self, algorithm: Algorithm) -> bool {
        algorithm.key_kind() == self.kind
    }

    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.fits(algorithm)
            && UnparsedPublicKey::new(algorithm.verification(), &self.bytes).verify(message, signature).is_ok()
    }
}
