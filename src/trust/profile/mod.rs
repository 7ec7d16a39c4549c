//! The `[seal]` table as an integrator writes it comes in; a valid seal profile goes out, or all its faults with their keys.
//!
//! The same table stands in an agency's `agency.toml` and in the file that `punte trust verify --profile` reads.

mod check;
mod check_answer;
mod faults;
mod written;

pub use written::{SealAsWritten, SealKind, SignedHeaderAsWritten};

use super::Algorithm;
use crate::domain::SubjectMatch;
use jiff::SignedDuration;
use std::path::PathBuf;

/// How messages to an agency are signed, and how those from it are verified.
#[derive(Debug, Clone, PartialEq)]
pub struct SealProfile {
    pub seal: Seal,
    pub answer: AnswerProfile,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Seal {
    None,
    Wss(WssProfile),
    Jws(JwsProfile),
    HttpSignature(HttpSignatureProfile),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WssProfile {
    pub algorithm: Algorithm,
    pub ttl: SignedDuration,
    /// Blocks of the SOAP header that are signed too; each must stand in the envelope once.
    pub sign_headers: Vec<SignedHeader>,
    pub must_understand: bool,
    /// Whether the signature covers the token with our certificate too, by STR-Transform.
    pub sign_token: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeader {
    pub namespace: String,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwsProfile {
    pub algorithm: Algorithm,
    pub form: JwsForm,
    pub key_id: KeyIdForm,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwsForm {
    /// The body becomes the compact serialisation.
    Compact,
    /// The body stays, and the serialisation without payload goes into this header (RFC 7515, appendix F).
    Detached { header: String },
}

/// How the receiver finds our certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyIdForm {
    /// The certificate's serial number in hexadecimal, as `kid`.
    Serial,
    /// The certificate's SHA-256 thumbprint, as `x5t#S256` (RFC 7515 §4.1.8).
    Thumbprint,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSignatureProfile {
    pub algorithm: Algorithm,
    pub label: String,
    /// What is covered, in this order, e.g. `@method`, `@target-uri`, `content-digest`.
    pub components: Vec<String>,
    /// `None`: the signature names no end.
    pub ttl: Option<SignedDuration>,
    pub key_id: KeyIdForm,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AnswerProfile {
    pub kind: AnswerKind,
    pub algorithms: Vec<Algorithm>,
    pub signers: SignersAsFiles,
    pub max_clock_skew: SignedDuration,
    pub replay_window: SignedDuration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerKind {
    /// Not signed; only mutual TLS vouches for it.
    None,
    Wss,
    JwsCompact,
    JwsDetached {
        header: String,
    },
    /// The components that must be covered at least.
    HttpSignature {
        components: Vec<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignersAsFiles {
    Nobody,
    Pinned(Vec<PathBuf>),
    Authority { path: PathBuf, subject: Option<SubjectMatch> },
}

/// One thing that is wrong in a profile, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {text}. {remedy}")]
pub struct ProfileFault {
    /// Relative to the table, e.g. `answer.algorithms`.
    pub key: String,
    pub text: String,
    pub remedy: String,
}

impl SealProfile {
    /// What the operator should read at every start.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if matches!(&self.seal, Seal::Wss(wss) if wss.algorithm == Algorithm::RsaSha1) {
            warnings.push("requests are signed with rsa-sha1, which is broken against collisions".to_owned());
        }
        if self.answer.algorithms.contains(&Algorithm::RsaSha1) {
            warnings.push("answers signed with rsa-sha1 are accepted, which is broken against collisions".to_owned());
        }
        if self.answer.kind == AnswerKind::None {
            warnings.push(match self.seal {
                Seal::None => {
                    "neither requests nor answers are signed: only the connection vouches for them".to_owned()
                }
                Seal::Wss(_) | Seal::Jws(_) | Seal::HttpSignature(_) => {
                    "requests are signed but answers are not verified".to_owned()
                }
            });
        }
        warnings
    }
}
