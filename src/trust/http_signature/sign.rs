//! An HTTP message and our identity come in; the values of Content-Digest, Signature-Input and Signature go out.

use super::{HttpMessage, base::signature_base, message::name_of};
use crate::{
    domain::later,
    trust::{HttpSignatureProfile, Identity, KeyIdForm, key::KeyFault},
};
use aws_lc_rs::digest;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use std::fmt::Write;

/// The header values to be added to the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSeal {
    pub content_digest: HeaderValue,
    pub signature_input: HeaderValue,
    pub signature: HeaderValue,
}

impl HttpSeal {
    pub fn insert_into(self, headers: &mut HeaderMap) {
        headers.insert("content-digest", self.content_digest);
        headers.insert("signature-input", self.signature_input);
        headers.insert("signature", self.signature);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpSignatureError {
    #[error("the message does not have every component that is to be signed")]
    Component,
    #[error("a value cannot stand in an HTTP header")]
    Value,
    #[error("{0}")]
    Key(#[from] KeyFault),
}

/// Signs requests and responses alike. The digest is always made, and always over the body that is given.
pub fn sign(
    message: &HttpMessage<'_>,
    profile: &HttpSignatureProfile,
    identity: &Identity,
    now: Timestamp,
) -> Result<HttpSeal, HttpSignatureError> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| HttpSignatureError::Value);
    let digest = value(&content_digest(message.body))?;
    let mut headers = message.headers.clone();
    headers.insert("content-digest", digest.clone());
    let params = signature_params(profile, identity, now)?;
    let sealed = HttpMessage { headers: &headers, ..*message };
    let base = signature_base(&sealed, &profile.components, &params).ok_or(HttpSignatureError::Component)?;
    let signature = STANDARD.encode(identity.signer().sign(profile.algorithm, base.as_bytes())?);
    Ok(HttpSeal {
        content_digest: digest,
        signature_input: value(&format!("{}={params}", profile.label))?,
        signature: value(&format!("{}=:{signature}:", profile.label))?,
    })
}

/// RFC 9530 §2.
pub(super) fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest::digest(&digest::SHA256, body)))
}

/// RFC 9421 §2.3. The parameters' order is ours; the verifier takes them as they stand.
fn signature_params(
    profile: &HttpSignatureProfile,
    identity: &Identity,
    now: Timestamp,
) -> Result<String, HttpSignatureError> {
    let algorithm = name_of(profile.algorithm).ok_or(KeyFault::Unfit(profile.algorithm))?;
    let components = profile.components.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" ");
    let mut params = format!("({components});created={}", now.as_second());
    if let Some(ttl) = profile.ttl {
        let _ = write!(params, ";expires={}", later(now, ttl).as_second());
    }
    let key_id = match profile.key_id {
        KeyIdForm::Serial => identity.facts().serial_hex.clone(),
        KeyIdForm::Thumbprint => URL_SAFE_NO_PAD.encode(identity.certificate.thumbprint_sha256()),
    };
    let nonce = uuid::Uuid::new_v4().simple();
    let _ = write!(params, ";nonce=\"{nonce}\";keyid=\"{key_id}\";alg=\"{algorithm}\"");
    Ok(params)
}
