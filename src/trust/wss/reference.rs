//! What is signed and its digest come in; the Reference to it goes out, in its canonical form.

use super::names;
use crate::trust::WssProfile;
use base64::{Engine, engine::general_purpose::STANDARD};

/// How bytes are made of what a reference names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transform {
    /// By exclusive canonicalization.
    Exclusive,
    /// The same of the token to which it points (WSS 1.0, section 8.3).
    Token,
}

pub(super) fn reference(profile: &WssProfile, identifier: &str, transform: Transform, digest: &[u8]) -> String {
    let (uri, _) = names::digest_for(profile.algorithm);
    format!(
        "<ds:Reference URI=\"#{identifier}\"><ds:Transforms>{}</ds:Transforms><ds:DigestMethod Algorithm=\"{uri}\"></ds:DigestMethod><ds:DigestValue>{}</ds:DigestValue></ds:Reference>",
        transform.written(),
        STANDARD.encode(digest),
    )
}

impl Transform {
    fn written(self) -> String {
        match self {
            Self::Exclusive => format!("<ds:Transform Algorithm=\"{}\"></ds:Transform>", names::EXC_C14N),
            Self::Token => format!(
                "<ds:Transform Algorithm=\"{}\"><wsse:TransformationParameters xmlns:wsse=\"{}\"><ds:CanonicalizationMethod Algorithm=\"{}\"></ds:CanonicalizationMethod></wsse:TransformationParameters></ds:Transform>",
                names::STR_TRANSFORM,
                names::WSSE,
                names::EXC_C14N,
            ),
        }
    }
}
