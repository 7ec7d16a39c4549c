//! TOML comes in; the seal's table exactly as written goes out, with unknown keys refused and nothing else judged.

use crate::trust::Algorithm;
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SealKind {
    None,
    Wss,
    JwsCompact,
    JwsDetached,
    HttpSignature,
}

impl SealKind {
    pub fn as_str(self) -> &'static str {
        match self {
            SealKind::None => "none",
            SealKind::Wss => "wss",
            SealKind::JwsCompact => "jws-compact",
            SealKind::JwsDetached => "jws-detached",
            SealKind::HttpSignature => "http-signature",
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealAsWritten {
    pub kind: SealKind,
    pub algorithm: Option<Algorithm>,
    pub ttl_secs: Option<u32>,
    pub sign_headers: Option<Vec<SignedHeaderAsWritten>>,
    pub must_understand: Option<bool>,
    pub sign_token: Option<bool>,
    pub header: Option<String>,
    pub key_id: Option<KeyIdAsWritten>,
    pub label: Option<String>,
    pub components: Option<Vec<String>>,
    pub answer: Option<AnswerAsWritten>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHeaderAsWritten {
    pub namespace: String,
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum KeyIdAsWritten {
    #[serde(rename = "serial")]
    Serial,
    #[serde(rename = "x5t#S256")]
    Thumbprint,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerAsWritten {
    pub kind: SealKind,
    pub algorithms: Option<Vec<Algorithm>>,
    pub certificates: Option<Vec<PathBuf>>,
    pub ca: Option<PathBuf>,
    pub subject: Option<String>,
    pub header: Option<String>,
    pub components: Option<Vec<String>>,
    pub max_clock_skew_secs: Option<u32>,
    pub replay_window_secs: Option<u32>,
}
