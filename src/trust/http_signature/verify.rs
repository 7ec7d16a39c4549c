//! A signed HTTP message and a policy come in; who signed which components goes out, or the rule that was broken.

use super::{
    HttpMessage, HttpStart,
    base::{is_component, signature_base},
    message::name_of,
};
use crate::trust::{
    Algorithm, AnswerKind, AnswerPolicy, Certificate, CertificateFacts, Fingerprint, Named, ReplayCache, ReplayKey,
    SignerRefusal, policy::Freshness,
};
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use sfv::{Dictionary, FieldType, InnerList, ListEntry, Parser};

#[derive(Debug, Clone)]
pub struct VerifiedHttp {
    pub signer: CertificateFacts,
    pub algorithm: Algorithm,
    pub covered: Vec<String>,
    pub created: Timestamp,
    /// By which it is known if it comes again. `None`: a response without a nonce, which may rightly be given twice in one
    /// second.
    pub replay_key: Option<ReplayKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpSignatureRefusal {
    #[error("the message has no signature")]
    Missing,
    #[error("a signature field cannot be read")]
    Format,
    #[error("the message must have exactly one signature")]
    SignatureCount,
    #[error("a component is not supported, is covered twice, or is not in the message")]
    Component,
    #[error("a component that must be covered is not")]
    NotCovered,
    #[error("the signature's algorithm is {0}, which is not allowed")]
    Algorithm(Named),
    #[error("the time of the signature is missing or unusable")]
    TimeFormat,
    #[error("the signature is too old or has expired")]
    Stale,
    #[error("the signature is from the future")]
    FromTheFuture,
    #[error("the body has no digest")]
    DigestMissing,
    #[error("the body does not have the digest that the message names")]
    DigestMismatch,
    #[error("{0}")]
    Signer(#[from] SignerRefusal),
    #[error("the signature does not hold")]
    SignatureMismatch,
    #[error("the signature names the key {0}, which is none of the agency's, and it holds with none of them")]
    UnknownKey(Named),
    #[error("the message was seen before")]
    Replayed,
    #[error("the policy does not expect an HTTP signature")]
    PolicyKind,
}

impl HttpSignatureRefusal {
    pub fn reason(&self) -> &'static str {
        match self {
            HttpSignatureRefusal::Missing => "missing",
            HttpSignatureRefusal::Format => "format",
            HttpSignatureRefusal::SignatureCount => "signature-count",
            HttpSignatureRefusal::Component => "component",
            HttpSignatureRefusal::NotCovered => "not-covered",
            HttpSignatureRefusal::Algorithm(_) => "algorithm",
            HttpSignatureRefusal::TimeFormat => "time-format",
            HttpSignatureRefusal::Stale => "stale",
            HttpSignatureRefusal::FromTheFuture => "from-the-future",
            HttpSignatureRefusal::DigestMissing => "digest-missing",
            HttpSignatureRefusal::DigestMismatch => "digest-mismatch",
            HttpSignatureRefusal::Signer(signer) => signer.reason(),
            HttpSignatureRefusal::SignatureMismatch | HttpSignatureRefusal::UnknownKey(_) => "signature-mismatch",
            HttpSignatureRefusal::Replayed => "replayed",
            HttpSignatureRefusal::PolicyKind => "policy-kind",
        }
    }
}

pub fn verify(
    message: &HttpMessage<'_>,
    policy: &AnswerPolicy,
    now: Timestamp,
    replays: &ReplayCache,
) -> Result<VerifiedHttp, HttpSignatureRefusal> {
    let verified = verify_but_for_replay(message, policy, now)?;
    match verified.replay_key.is_none_or(|replay_key| replays.is_new(replay_key, now)) {
        true => Ok(verified),
        false => Err(HttpSignatureRefusal::Replayed),
    }
}

/// For a caller who finds out by what the message is bound to whether it may come again.
pub fn verify_but_for_replay(
    message: &HttpMessage<'_>,
    policy: &AnswerPolicy,
    now: Timestamp,
) -> Result<VerifiedHttp, HttpSignatureRefusal> {
    let AnswerKind::HttpSignature { components: required } = &policy.kind else {
        return Err(HttpSignatureRefusal::PolicyKind);
    };
    let signed = read_signature(message)?;
    if !required.iter().all(|name| signed.covered.contains(name)) {
        return Err(HttpSignatureRefusal::NotCovered);
    }
    let remember_until = match policy.is_fresh(signed.created, signed.expires, now) {
        Freshness::Fresh { remember_until } => remember_until,
        Freshness::Stale => return Err(HttpSignatureRefusal::Stale),
        Freshness::FromTheFuture => return Err(HttpSignatureRefusal::FromTheFuture),
    };
    let base = signature_base(message, &signed.covered, &signed.params).ok_or(HttpSignatureRefusal::Component)?;
    let (signer, algorithm) = verify_base(&base, &signed, policy, now)?;
    verify_digest(message, &signed.covered)?;
    // A response comes on the connection that asked for it, and one without a nonce may rightly be given twice in one
    // second; a request may not.
    let is_remembered = signed.has_nonce || matches!(message.start, HttpStart::Request { .. });
    let replay_key = ReplayKey { fingerprint: Fingerprint::of(base.as_bytes()), until: remember_until };
    Ok(VerifiedHttp {
        signer: signer.facts,
        algorithm,
        covered: signed.covered,
        created: signed.created,
        replay_key: is_remembered.then_some(replay_key),
    })
}

struct Signed {
    covered: Vec<String>,
    /// The inner list as RFC 8941 serialises it: the last line of the signature base.
    params: String,
    signature: Vec<u8>,
    created: Timestamp,
    expires: Option<Timestamp>,
    algorithm: Option<String>,
    key_id: Option<String>,
    has_nonce: bool,
}

/// Exactly one signature: with more, it would be unclear which of them vouches for the message.
fn read_signature(message: &HttpMessage<'_>) -> Result<Signed, HttpSignatureRefusal> {
    let inputs = dictionary(message, "signature-input")?;
    let signatures = dictionary(message, "signature")?;
    let (Some((label, ListEntry::InnerList(input))), 1, 1) = (inputs.first(), inputs.len(), signatures.len()) else {
        return Err(HttpSignatureRefusal::SignatureCount);
    };
    let signature = match signatures.get(label.as_str()) {
        Some(ListEntry::Item(item)) => item.bare_item.as_byte_sequence().ok_or(HttpSignatureRefusal::Format)?.to_vec(),
        _ => return Err(HttpSignatureRefusal::Format),
    };
    let text =
        |name: &str| input.params.get(name).and_then(|value| value.as_string()).map(|text| text.as_str().to_owned());
    Ok(Signed {
        covered: covered(input)?,
        params: vec![ListEntry::InnerList(input.clone())].serialize().ok_or(HttpSignatureRefusal::Format)?,
        signature,
        created: time(input, "created")?.ok_or(HttpSignatureRefusal::TimeFormat)?,
        expires: time(input, "expires")?,
        algorithm: text("alg"),
        key_id: text("keyid"),
        has_nonce: text("nonce").is_some(),
    })
}

fn dictionary(message: &HttpMessage<'_>, name: &str) -> Result<Dictionary, HttpSignatureRefusal> {
    let values: Vec<_> = message.headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
    if values.is_empty() {
        return Err(HttpSignatureRefusal::Missing);
    }
    Parser::new(&values.join(&b", "[..])).parse().map_err(|_| HttpSignatureRefusal::Format)
}

fn covered(input: &InnerList) -> Result<Vec<String>, HttpSignatureRefusal> {
    let mut names: Vec<String> = Vec::new();
    for item in &input.items {
        let name = item.bare_item.as_string().ok_or(HttpSignatureRefusal::Component)?.as_str();
        if !item.params.is_empty() || !is_component(name) || names.iter().any(|known| known == name) {
            return Err(HttpSignatureRefusal::Component);
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn time(input: &InnerList, name: &str) -> Result<Option<Timestamp>, HttpSignatureRefusal> {
    let Some(value) = input.params.get(name) else { return Ok(None) };
    let seconds = value.as_integer().map(i64::from).ok_or(HttpSignatureRefusal::TimeFormat)?;
    Timestamp::from_second(seconds).map(Some).map_err(|_| HttpSignatureRefusal::TimeFormat)
}

/// The key decides the algorithm, and the policy allows it; `alg` may only agree (RFC 9421 §3.2, step 6).
fn verify_base(
    base: &str,
    signed: &Signed,
    policy: &AnswerPolicy,
    now: Timestamp,
) -> Result<(Certificate, Algorithm), HttpSignatureRefusal> {
    let allowed: Vec<_> = policy
        .algorithms
        .iter()
        .copied()
        .filter(|algorithm| signed.algorithm.as_deref().is_none_or(|named| name_of(*algorithm) == Some(named)))
        .filter(|algorithm| name_of(*algorithm).is_some())
        .collect();
    if allowed.is_empty() {
        return Err(HttpSignatureRefusal::Algorithm(Named::of(signed.algorithm.as_deref())));
    }
    for signer in candidates(signed, policy, now)? {
        for algorithm in &allowed {
            let key = signer.public_key.as_ref();
            if key.is_some_and(|key| key.verifies(*algorithm, base.as_bytes(), &signed.signature)) {
                return Ok((signer, *algorithm));
            }
        }
    }
    match signed.key_id.as_deref() {
        Some(key_id) if !policy.signers.pinned().iter().any(|known| signed.points_at(known)) => {
            Err(HttpSignatureRefusal::UnknownKey(Named::of(Some(key_id))))
        }
        Some(_) | None => Err(HttpSignatureRefusal::SignatureMismatch),
    }
}

impl Signed {
    fn points_at(&self, known: &Certificate) -> bool {
        self.key_id.as_ref().is_some_and(|key_id| {
            key_id.eq_ignore_ascii_case(&known.facts.serial_hex)
                || *key_id == URL_SAFE_NO_PAD.encode(known.thumbprint_sha256())
        })
    }
}

/// `keyid` selects among the configured certificates; if it names none of them, each is tried.
fn candidates(signed: &Signed, policy: &AnswerPolicy, now: Timestamp) -> Result<Vec<Certificate>, SignerRefusal> {
    let is_named = policy.signers.pinned().iter().any(|known| signed.points_at(known));
    policy.signers.usable(now, |known| !is_named || signed.points_at(known))
}

/// RFC 9530 §2: every digest that we know must fit, and SHA-256 or SHA-512 must be there. Bodies must be covered.
fn verify_digest(message: &HttpMessage<'_>, covered: &[String]) -> Result<(), HttpSignatureRefusal> {
    if !covered.iter().any(|name| name == "content-digest") {
        return match message.body.is_empty() {
            true => Ok(()),
            false => Err(HttpSignatureRefusal::NotCovered),
        };
    }
    let digests = dictionary(message, "content-digest")?;
    let known = [("sha-256", &digest::SHA256), ("sha-512", &digest::SHA512)];
    let mut checked = 0;
    for (name, algorithm) in known {
        let Some(ListEntry::Item(item)) = digests.get(name) else { continue };
        if item.bare_item.as_byte_sequence() != Some(digest::digest(algorithm, message.body).as_ref()) {
            return Err(HttpSignatureRefusal::DigestMismatch);
        }
        checked += 1;
    }
    match checked {
        0 => Err(HttpSignatureRefusal::DigestMissing),
        _ => Ok(()),
    }
}
