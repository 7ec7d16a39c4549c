//! What a check of one message by hand comes to.

use crate::trust::CertificateFacts;
use serde::Serialize;

/// What has become of one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub accepted: bool,
    /// `accepted`, or the broken rule's short and stable name.
    pub reason: String,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
}

impl Verdict {
    pub fn refused(reason: &str, text: String) -> Self {
        Self { accepted: false, reason: reason.into(), text, signer: None, fingerprint_sha256: None, algorithm: None }
    }

    pub(super) fn accepted(signer: CertificateFacts, algorithm: &str) -> Self {
        Self {
            accepted: true,
            reason: "accepted".into(),
            text: "the signature holds and follows the profile".into(),
            signer: Some(signer.subject),
            fingerprint_sha256: Some(signer.fingerprint_sha256),
            algorithm: Some(algorithm.into()),
        }
    }
}
