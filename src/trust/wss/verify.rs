//! A parsed SOAP message and a policy come in; the verified Body of this very parse goes out, or the rule that was broken.
//!
//! The caller must read the message's data from the returned node and from nowhere else.

use super::{
    WssRefusal,
    hash::Hash,
    names,
    shape::{self, Parts, only, plain_text},
    str_transform::{self, Transformed},
    token,
};
use crate::{
    trust::{
        Algorithm, AnswerKind, AnswerPolicy, Certificate, CertificateFacts, ReplayCache, ReplayKey, named::Named,
        policy::Freshness, replay::Fingerprint,
    },
    xml,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{Timestamp, civil::DateTime};
use roxmltree::{Document, Node, NodeId};
use std::collections::HashMap;

#[derive(Debug, Clone)]
pub struct VerifiedEnvelope {
    /// The Body. Data is read from here.
    pub body: NodeId,
    /// Every element that the signature covers.
    pub signed: Vec<NodeId>,
    pub signer: CertificateFacts,
    pub algorithm: Algorithm,
    pub created: Timestamp,
    /// By which it is known if it comes again.
    pub replay_key: ReplayKey,
}

type Identifiers<'a, 'input> = HashMap<&'a str, Node<'a, 'input>>;

pub fn verify(
    document: &Document<'_>,
    policy: &AnswerPolicy,
    now: Timestamp,
    replays: &ReplayCache,
) -> Result<VerifiedEnvelope, WssRefusal> {
    let verified = verify_but_for_replay(document, policy, now)?;
    match replays.is_new(verified.replay_key, now) {
        true => Ok(verified),
        false => Err(WssRefusal::Replayed),
    }
}

/// For a caller who finds out by what the message is bound to whether it may come again.
pub fn verify_but_for_replay(
    document: &Document<'_>,
    policy: &AnswerPolicy,
    now: Timestamp,
) -> Result<VerifiedEnvelope, WssRefusal> {
    if policy.kind != AnswerKind::Wss {
        return Err(WssRefusal::PolicyKind);
    }
    let parts = shape::parts(document)?;
    let identifiers = shape::identifiers(document)?;
    let algorithm = allowed_algorithm(parts.signed_info, policy)?;
    let candidates = token::signers(&parts, &identifiers, policy, now)?;
    let (signer, fingerprint) = verify_signed_info(&parts, algorithm, candidates)?;
    let signed = verify_references(&parts, &identifiers, algorithm, &signer)?;
    let referred: Vec<_> = identifiers.into_iter().filter(|(_, element)| signed.contains(element)).collect();
    if shape::has_lookalike(document, &referred) {
        return Err(WssRefusal::DuplicateId);
    }
    let created = check_coverage(&parts, &signed, policy, now)?;
    Ok(VerifiedEnvelope {
        body: parts.body.id(),
        signed: signed.iter().map(Node::id).collect(),
        signer: signer.facts,
        algorithm,
        created: created.at,
        replay_key: ReplayKey { fingerprint, until: created.remember_until },
    })
}

fn allowed_algorithm(signed_info: Node<'_, '_>, policy: &AnswerPolicy) -> Result<Algorithm, WssRefusal> {
    let method = only(signed_info, names::DS, "CanonicalizationMethod")
        .map_err(|()| WssRefusal::Shape("ds:CanonicalizationMethod"))?;
    if method.attribute("Algorithm") != Some(names::EXC_C14N) {
        return Err(WssRefusal::Canonicalization(Named::of(method.attribute("Algorithm"))));
    }
    let method =
        only(signed_info, names::DS, "SignatureMethod").map_err(|()| WssRefusal::Shape("ds:SignatureMethod"))?;
    let named = method.attribute("Algorithm");
    // Neither a truncated HMAC's length nor any other parameter belongs to our algorithms.
    let is_bare = !method.children().any(|child| child.is_element());
    let algorithm = named.and_then(names::algorithm_of).filter(|algorithm| policy.allows(*algorithm) && is_bare);
    algorithm.ok_or_else(|| WssRefusal::Algorithm(Named::of(named)))
}

/// The signature first: nothing that is not the agency's own is worth a closer look. What is remembered is what was
/// signed, because an ECDSA signature has a mirror image that holds as well.
fn verify_signed_info(
    parts: &Parts<'_, '_>,
    algorithm: Algorithm,
    candidates: Vec<Certificate>,
) -> Result<(Certificate, Fingerprint), WssRefusal> {
    let value =
        only(parts.signature, names::DS, "SignatureValue").map_err(|()| WssRefusal::Shape("ds:SignatureValue"))?;
    let signature = STANDARD
        .decode(plain_text(value, "ds:SignatureValue")?)
        .map_err(|_| WssRefusal::NotPlainText("ds:SignatureValue"))?;
    let method = only(parts.signed_info, names::DS, "CanonicalizationMethod")
        .map_err(|()| WssRefusal::Shape("ds:CanonicalizationMethod"))?;
    let mut canonical = Vec::new();
    xml::canonicalize(parts.signed_info, &inclusive_prefixes(method), &mut canonical);
    let holds = |certificate: &Certificate| {
        certificate.public_key.as_ref().is_some_and(|key| key.verifies(algorithm, &canonical, &signature))
    };
    let signer = candidates.into_iter().find(holds).ok_or(WssRefusal::SignatureMismatch)?;
    Ok((signer, Fingerprint::of(&canonical)))
}

fn verify_references<'a, 'input>(
    parts: &Parts<'a, 'input>,
    identifiers: &Identifiers<'a, 'input>,
    algorithm: Algorithm,
    signer: &Certificate,
) -> Result<Vec<Node<'a, 'input>>, WssRefusal> {
    let references: Vec<_> =
        parts.signed_info.children().filter(|child| child.has_tag_name((names::DS, "Reference"))).collect();
    if references.is_empty() || references.len() > 8 {
        return Err(WssRefusal::ReferenceCount);
    }
    let verified = references.into_iter().map(|it| verify_reference(it, parts, identifiers, algorithm, signer));
    Ok(verified.collect::<Result<Vec<_>, _>>()?.concat())
}

fn verify_reference<'a, 'input>(
    reference: Node<'a, 'input>,
    parts: &Parts<'a, 'input>,
    identifiers: &Identifiers<'a, 'input>,
    algorithm: Algorithm,
    signer: &Certificate,
) -> Result<Vec<Node<'a, 'input>>, WssRefusal> {
    let uri = reference.attribute("URI");
    let identifier = uri.and_then(|uri| uri.strip_prefix('#'));
    let identifier = identifier.ok_or_else(|| WssRefusal::ExternalReference(Named::of(uri)))?;
    let target = *identifiers.get(identifier).ok_or(WssRefusal::DanglingReference)?;
    let transform = only_transform(reference)?;
    let method = only(reference, names::DS, "DigestMethod").map_err(|()| WssRefusal::Shape("ds:DigestMethod"))?;
    let digest = method
        .attribute("Algorithm")
        .and_then(|uri| names::digest_of(uri, algorithm == Algorithm::RsaSha1))
        .ok_or_else(|| WssRefusal::DigestAlgorithm(Named::of(method.attribute("Algorithm"))))?;
    let mut hash = Hash::new(digest);
    let signed = match transform {
        Transformed::Element(transform) => {
            if !may_be_signed(target, parts) {
                return Err(WssRefusal::ReferencePlace);
            }
            xml::canonicalize(target, &inclusive_prefixes(transform), &mut hash);
            vec![target]
        }
        Transformed::Token(method) => {
            let prefixes = inclusive_prefixes(method);
            str_transform::canonical_token(target, parts, identifiers, signer, &prefixes, &mut hash)?
        }
    };
    let value = only(reference, names::DS, "DigestValue").map_err(|()| WssRefusal::Shape("ds:DigestValue"))?;
    let expected = STANDARD
        .decode(plain_text(value, "ds:DigestValue")?)
        .map_err(|_| WssRefusal::NotPlainText("ds:DigestValue"))?;
    match hash.finish().as_ref() == expected {
        true => Ok(signed),
        false => Err(WssRefusal::DigestMismatch),
    }
}

fn may_be_signed(target: Node<'_, '_>, parts: &Parts<'_, '_>) -> bool {
    target == parts.body || target.parent() == Some(parts.security) || target.parent() == Some(parts.header)
}

fn only_transform<'a, 'input>(reference: Node<'a, 'input>) -> Result<Transformed<'a, 'input>, WssRefusal> {
    let transforms = only(reference, names::DS, "Transforms").map_err(|()| WssRefusal::Transform(Named::of(None)))?;
    let elements: Vec<_> = transforms.children().filter(Node::is_element).take(4).collect();
    let named = || Named::all(elements.iter().map(|it| it.attribute("Algorithm").unwrap_or("nothing")));
    match elements.as_slice() {
        [transform] if transform.has_tag_name((names::DS, "Transform")) => match transform.attribute("Algorithm") {
            Some(names::EXC_C14N) => Ok(Transformed::Element(*transform)),
            Some(names::STR_TRANSFORM) => str_transform::method(*transform).map(Transformed::Token),
            _ => Err(WssRefusal::Transform(named())),
        },
        _ => Err(WssRefusal::Transform(named())),
    }
}

fn inclusive_prefixes<'a>(method: Node<'a, '_>) -> Vec<&'a str> {
    let inclusive = method.children().find(|child| child.has_tag_name((names::EXC_C14N, "InclusiveNamespaces")));
    let list = inclusive.and_then(|inclusive| inclusive.attribute("PrefixList")).unwrap_or("");
    list.split_ascii_whitespace().take(64).collect()
}

struct Created {
    at: Timestamp,
    remember_until: Timestamp,
}

/// What must be signed is signed: the Body and the Timestamp, by identity of nodes; and the Timestamp is fresh.
fn check_coverage(
    parts: &Parts<'_, '_>,
    signed: &[Node<'_, '_>],
    policy: &AnswerPolicy,
    now: Timestamp,
) -> Result<Created, WssRefusal> {
    if !signed.contains(&parts.body) {
        return Err(WssRefusal::BodyNotSigned);
    }
    let timestamp = only(parts.security, names::WSU, "Timestamp").map_err(|()| WssRefusal::Shape("wsu:Timestamp"))?;
    if !signed.contains(&timestamp) {
        return Err(WssRefusal::TimestampNotSigned);
    }
    if signed.iter().any(|element| shape::has_comment_in_text(*element)) {
        return Err(WssRefusal::CommentInText);
    }
    let created = only(timestamp, names::WSU, "Created").map_err(|()| WssRefusal::Shape("wsu:Created"))?;
    let at = time_in(created, "wsu:Created")?;
    match policy.is_fresh(at, expires_in(timestamp)?, now) {
        Freshness::Fresh { remember_until } => Ok(Created { at, remember_until }),
        Freshness::Stale => Err(WssRefusal::Stale),
        Freshness::FromTheFuture => Err(WssRefusal::FromTheFuture),
    }
}

/// It may be left out (WSS 1.0, section 10): then the policy alone says how old a message may be.
fn expires_in(timestamp: Node<'_, '_>) -> Result<Option<Timestamp>, WssRefusal> {
    match timestamp.children().any(|child| child.has_tag_name((names::WSU, "Expires"))) {
        false => Ok(None),
        true => {
            let expires = only(timestamp, names::WSU, "Expires").map_err(|()| WssRefusal::Shape("wsu:Expires"))?;
            time_in(expires, "wsu:Expires").map(Some)
        }
    }
}

fn time_in(element: Node<'_, '_>, name: &'static str) -> Result<Timestamp, WssRefusal> {
    let text = plain_text(element, name)?;
    let refusal = if is_without_zone(&text) { WssRefusal::TimeZone } else { WssRefusal::TimeFormat };
    text.parse().map_err(|_| refusal(name))
}

/// An xs:dateTime may leave out its zone, and then is no moment.
fn is_without_zone(text: &str) -> bool {
    let has_none = |(_, time): (&str, &str)| !time.contains(['Z', '+', '-']);
    text.split_once('T').is_some_and(has_none) && text.parse::<DateTime>().is_ok()
}
