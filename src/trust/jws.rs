//! A payload comes in and a JSON Web Signature (RFC 7515) goes out, whole or detached; or the other way round, verified.
//!
//! Algorithm and key come from the policy. Of the token's header, `kid` and `x5t#S256` at most select among configured
//! certificates; `jwk`, `jku` and `x5u` mean nothing; `crit` and `b64` (RFC 7797) are refused. A JWS tells no time, so a
//! repetition cannot be told from the original here: what it is about must say which request it belongs to.

use super::{
    Algorithm, AnswerKind, AnswerPolicy, Certificate, CertificateFacts, Identity, JwsProfile, KeyIdForm, Named,
    SignerRefusal, TrustedSigners, key::KeyFault,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone)]
pub struct VerifiedJws {
    pub payload: Vec<u8>,
    pub signer: CertificateFacts,
    pub algorithm: Algorithm,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwsRefusal {
    #[error("it is not a JWS in compact serialisation")]
    Format,
    #[error("the JWS carries a payload of its own, and must not")]
    NotDetached,
    #[error("the JWS header cannot be used")]
    Header,
    #[error("the JWS demands extensions, which are never followed")]
    Critical,
    #[error("the JWS algorithm is {0}, which is not allowed")]
    Algorithm(Named),
    #[error("{0}")]
    Signer(#[from] SignerRefusal),
    #[error("the JWS brings no certificate of its signer (x5c); the key that it names is {0}")]
    NoCertificate(Named),
    #[error("the JWS signature does not hold")]
    SignatureMismatch,
    #[error("the JWS names the key {0}, which is none of the agency's, and its signature holds with none of them")]
    UnknownKey(Named),
    #[error("the policy does not expect a JWS of this form")]
    PolicyKind,
}

impl JwsRefusal {
    pub fn reason(&self) -> &'static str {
        match self {
            JwsRefusal::Format => "format",
            JwsRefusal::NotDetached => "not-detached",
            JwsRefusal::Header => "header",
            JwsRefusal::Critical => "critical",
            JwsRefusal::Algorithm(_) => "algorithm",
            JwsRefusal::Signer(signer) => signer.reason(),
            JwsRefusal::NoCertificate(_) => SignerRefusal::NOT_TRUSTED,
            JwsRefusal::SignatureMismatch | JwsRefusal::UnknownKey(_) => "signature-mismatch",
            JwsRefusal::PolicyKind => "policy-kind",
        }
    }
}

#[derive(Serialize)]
struct HeaderToWrite<'a> {
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    thumbprint: Option<String>,
}

/// A member that stands twice is refused by serde.
#[derive(Deserialize)]
struct HeaderAsRead {
    alg: String,
    kid: Option<String>,
    #[serde(rename = "x5t#S256")]
    thumbprint: Option<String>,
    x5c: Option<Vec<String>>,
    crit: Option<serde_json::Value>,
    b64: Option<serde_json::Value>,
}

/// `header.payload.signature`.
pub fn sign_compact(payload: &[u8], profile: &JwsProfile, identity: &Identity) -> Result<String, KeyFault> {
    let payload = URL_SAFE_NO_PAD.encode(payload);
    let (header, signature) = sign(&payload, profile, identity)?;
    Ok(format!("{header}.{payload}.{signature}"))
}

/// `header..signature`, to be sent beside the payload.
pub fn sign_detached(payload: &[u8], profile: &JwsProfile, identity: &Identity) -> Result<String, KeyFault> {
    let (header, signature) = sign(&URL_SAFE_NO_PAD.encode(payload), profile, identity)?;
    Ok(format!("{header}..{signature}"))
}

pub fn verify_compact(token: &str, policy: &AnswerPolicy, now: Timestamp) -> Result<VerifiedJws, JwsRefusal> {
    if policy.kind != AnswerKind::JwsCompact {
        return Err(JwsRefusal::PolicyKind);
    }
    let [header, payload, signature] = parts(token.trim_ascii())?;
    let decoded = URL_SAFE_NO_PAD.decode(payload).map_err(|_| JwsRefusal::Format)?;
    let (signer, algorithm) = verify(header, payload, signature, policy, now)?;
    Ok(VerifiedJws { payload: decoded, signer: signer.facts, algorithm })
}

pub fn verify_detached(
    token: &str,
    payload: &[u8],
    policy: &AnswerPolicy,
    now: Timestamp,
) -> Result<VerifiedJws, JwsRefusal> {
    if !matches!(policy.kind, AnswerKind::JwsDetached { .. }) {
        return Err(JwsRefusal::PolicyKind);
    }
    let [header, carried, signature] = parts(token.trim_ascii())?;
    if !carried.is_empty() {
        return Err(JwsRefusal::NotDetached);
    }
    let (signer, algorithm) = verify(header, &URL_SAFE_NO_PAD.encode(payload), signature, policy, now)?;
    Ok(VerifiedJws { payload: payload.to_vec(), signer: signer.facts, algorithm })
}

fn sign(payload: &str, profile: &JwsProfile, identity: &Identity) -> Result<(String, String), KeyFault> {
    let thumbprint = || URL_SAFE_NO_PAD.encode(identity.certificate.thumbprint_sha256());
    let name = name_of(profile.algorithm).ok_or(KeyFault::Unfit(profile.algorithm))?;
    let header = match profile.key_id {
        KeyIdForm::Serial => HeaderToWrite { alg: name, kid: Some(&identity.facts().serial_hex), thumbprint: None },
        KeyIdForm::Thumbprint => HeaderToWrite { alg: name, kid: None, thumbprint: Some(thumbprint()) },
    };
    let header = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).map_err(|_| KeyFault::Failed)?);
    let signature = identity.signer().sign(profile.algorithm, format!("{header}.{payload}").as_bytes())?;
    Ok((header, URL_SAFE_NO_PAD.encode(signature)))
}

fn verify(
    header: &str,
    payload: &str,
    signature: &str,
    policy: &AnswerPolicy,
    now: Timestamp,
) -> Result<(Certificate, Algorithm), JwsRefusal> {
    let read = URL_SAFE_NO_PAD.decode(header).map_err(|_| JwsRefusal::Format)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| JwsRefusal::Format)?;
    let read: HeaderAsRead = serde_json::from_slice(&read).map_err(|_| JwsRefusal::Header)?;
    if read.crit.is_some() || read.b64.is_some() {
        return Err(JwsRefusal::Critical);
    }
    let mut allowed = policy.algorithms.iter().copied();
    let algorithm = allowed.find(|allowed| name_of(*allowed) == Some(&read.alg));
    let algorithm = algorithm.ok_or_else(|| JwsRefusal::Algorithm(Named::of(Some(&read.alg))))?;
    let signed = format!("{header}.{payload}");
    let holds = |certificate: &Certificate| {
        certificate.public_key.as_ref().is_some_and(|key| key.verifies(algorithm, signed.as_bytes(), &signature))
    };
    let mut candidates = candidates(&read, policy, now)?.into_iter();
    match candidates.find(holds) {
        Some(signer) => Ok((signer, algorithm)),
        None if read.names_none_of(policy.signers.pinned()) => Err(JwsRefusal::UnknownKey(read.named_key())),
        None => Err(JwsRefusal::SignatureMismatch),
    }
}

impl HeaderAsRead {
    fn points_at(&self, known: &Certificate) -> bool {
        let thumbprint = URL_SAFE_NO_PAD.encode(known.thumbprint_sha256());
        self.thumbprint.as_ref().is_some_and(|wanted| *wanted == thumbprint)
            || self.kid.as_ref().is_some_and(|wanted| wanted.eq_ignore_ascii_case(&known.facts.serial_hex))
    }

    /// It names a key, and where certificates are configured it is that of none of them.
    fn names_none_of(&self, known: &[Certificate]) -> bool {
        let names_any = self.kid.is_some() || self.thumbprint.is_some();
        names_any && !known.is_empty() && !known.iter().any(|known| self.points_at(known))
    }

    fn named_key(&self) -> Named {
        Named::of(self.kid.as_deref().or(self.thumbprint.as_deref()))
    }
}

/// Those that the token points at, or all that are configured if it points at none of them.
fn candidates(header: &HeaderAsRead, policy: &AnswerPolicy, now: Timestamp) -> Result<Vec<Certificate>, JwsRefusal> {
    match &policy.signers {
        TrustedSigners::Authority(_) => {
            let chain = header.x5c.as_ref().ok_or_else(|| JwsRefusal::NoCertificate(header.named_key()))?;
            let not_base64 = || SignerRefusal::Malformed("x5c is not base64".into());
            let chain = chain
                .iter()
                .take(8)
                .map(|text| STANDARD.decode(text).map(CertificateDer::from).map_err(|_| not_base64()))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(vec![policy.signers.recognise(&chain, now)?])
        }
        TrustedSigners::Pinned(known) => {
            let is_pointed_at = known.iter().any(|known| header.points_at(known));
            Ok(policy.signers.usable(now, |known| !is_pointed_at || header.points_at(known))?)
        }
    }
}

fn parts(token: &str) -> Result<[&str; 3], JwsRefusal> {
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) => Ok([header, payload, signature]),
        _ => Err(JwsRefusal::Format),
    }
}

/// RFC 7518 §3.1. What has no name here can never be selected by a token: neither `none` nor any HMAC.
fn name_of(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::RsaSha256 => Some("RS256"),
        Algorithm::EcdsaSha256 => Some("ES256"),
        Algorithm::RsaSha1 => None,
    }
}
