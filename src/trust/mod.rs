//! Trust: certificates, keys and messages come in; verified identities, TLS settings, signatures and refusals go out.
//!
//! Read in this order: keys and certificates, then TLS, then the seal of messages.

mod section;
mod sections;
mod outside_sections;
mod der_file;
mod pem;
mod certificate;
mod certificate_flaw;
mod key_usage;
mod purpose;
mod key;
mod legacy_sha1;
mod identity;
mod reload;

mod authority;
mod revocation;
mod revocation_scope;
mod chain;
mod authorities;
mod client_trust;
mod possession;
mod tls_client;
mod tls_server;

mod named;
mod policy;
mod profile;
mod replay;

pub mod http_signature;
pub mod jws;
pub mod webhook;
pub mod wss;

pub use certificate::{Certificate, CertificateFacts};
use certificate_flaw::CertificateFlaw;
pub use client_trust::{CertificateRefusal, ClientTrust, ClientTrustFiles};
pub use identity::{Identity, IdentityFiles};
use key::PublicKey;
pub use key::{Algorithm, Signer};
pub use named::Named;
pub use policy::AnswerPolicy;
use policy::{SignerRefusal, TrustedSigners};
pub use profile::{
    AnswerKind, AnswerProfile, HttpSignatureProfile, JwsForm, JwsProfile, KeyIdForm, ProfileFault, Seal, SealAsWritten,
    SealKind, SealProfile, SignedHeader, SignedHeaderAsWritten, SignersAsFiles, WssProfile,
};
pub use purpose::Purpose;
pub use reload::{Load, Refreshed, Reloading, digest_of_files};
use replay::Fingerprint;
pub use replay::{ReplayCache, ReplayKey};
pub use tls_client::{AgencyRoots, ClientTls, client_config};
pub use tls_server::{TLS_VERSIONS, TlsVersions, server_config, strict_server_config, strict_server_config_over};

use std::path::{Path, PathBuf};

/// Why a key, certificate or list of revocations cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TrustError {
    #[error("{}: {text}", path.display())]
    File { path: PathBuf, text: String },
    #[error("{}: {text}", path.display())]
    Certificate { path: PathBuf, text: String },
    #[error("{}: {text}", path.display())]
    Key { path: PathBuf, text: String },
    #[error("the key {} does not fit the certificate {}", key.display(), certificate.display())]
    PairMismatch { certificate: PathBuf, key: PathBuf },
    #[error("the certificate {} has expired on {since}", path.display())]
    Expired { path: PathBuf, since: jiff::Timestamp },
    #[error("the certificate {} is not valid before {until}", path.display())]
    NotYetValid { path: PathBuf, until: jiff::Timestamp },
    #[error("{}: {text}", path.display())]
    RevocationList { path: PathBuf, text: String },
    #[error("TLS: {0}")]
    Tls(String),
    #[error("the throw-away PKI could not be made: {0}")]
    DevPki(String),
}

impl TrustError {
    /// The file, if it is about one, and what is wrong with it, for those who name the file themselves.
    pub fn apart(&self) -> (Option<&Path>, String) {
        match self {
            TrustError::File { path, text }
            | TrustError::Certificate { path, text }
            | TrustError::Key { path, text }
            | TrustError::RevocationList { path, text } => (Some(path), text.clone()),
            TrustError::PairMismatch { certificate, key } => {
                (Some(certificate), format!("the key {} does not fit this certificate", key.display()))
            }
            TrustError::Expired { path, since } => (Some(path), format!("the certificate has expired on {since}")),
            TrustError::NotYetValid { path, until } => {
                (Some(path), format!("the certificate is not valid before {until}"))
            }
            TrustError::Tls(_) | TrustError::DevPki(_) => (None, self.to_string()),
        }
    }
}
