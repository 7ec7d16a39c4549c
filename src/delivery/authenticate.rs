//! Authenticate: the agency's bytes come in; what its signature vouches for, and what stands unsigned beside it, goes out.

use super::{
    AnswerExpectation, Incoming,
    unpack::{check_media_type, headers_that_count, text, unpack},
};
use crate::{
    adapter::{Form, Protocol, WireAnswer},
    domain::{Code, Fault, Stage},
    soap::{
        self,
        content::{Content, Part, TextKind, charset},
    },
    trust::{
        AnswerKind, AnswerPolicy, ReplayKey,
        http_signature::{self, HttpMessage, HttpStart},
        jws, wss,
    },
    xml,
};
use http::StatusCode;
use jiff::Timestamp;

/// What is known to be the agency's.
pub(super) struct Authentic {
    pub answer: WireAnswer,
    /// By which it is known if it comes again; `None` where a repetition cannot be told.
    pub replay_key: Option<ReplayKey>,
    /// When the agency signed it, by its own clock; `None` where the seal tells no time.
    pub signed_at: Option<Timestamp>,
}

/// By media type, form and signature.
pub(super) fn authenticate(incoming: &Incoming, it: &AnswerExpectation<'_>) -> Result<Authentic, Fault> {
    let policy = it.connection.answer_policy();
    if incoming.body.is_empty() {
        return authenticate_empty(incoming, it, &policy);
    }
    // It says which headers count, and is about what was sent.
    let beside = match &policy.kind {
        AnswerKind::HttpSignature { .. } if incoming.headers.contains_key("signature") => {
            Some(verify_beside(incoming, &[], it, &policy)?)
        }
        _ => None,
    };
    let covered = beside.as_ref().map(|beside| beside.covered.as_slice()).unwrap_or_default();
    let content = unpack(incoming, it, headers_that_count(&policy.kind, covered))?;
    if is_empty(&content, &policy.kind) {
        return authenticate_empty(incoming, it, &policy);
    }
    check_media_type(&content, it, &policy.kind)?;
    match it.exchange.expects() {
        Form::Xml => authenticate_xml(incoming, &content, it, &policy, beside),
        Form::Json => authenticate_json(incoming, &content, it, &policy, beside),
    }
}

/// What is signed as bytes is what it is, white space too.
fn is_empty(content: &Content, kind: &AnswerKind) -> bool {
    match kind {
        AnswerKind::None | AnswerKind::Wss | AnswerKind::JwsCompact => content.is_blank(),
        AnswerKind::JwsDetached { .. } | AnswerKind::HttpSignature { .. } => content.whole.is_empty(),
    }
}

/// Empty answers, as 202 and 204 have them. Where the signature stands inside the body, an empty answer cannot be signed.
fn authenticate_empty(
    incoming: &Incoming,
    it: &AnswerExpectation<'_>,
    policy: &AnswerPolicy,
) -> Result<Authentic, Fault> {
    let unsigned = || bad_signature(format!("the answer is empty and unsigned, with HTTP status {}", incoming.status));
    let beside = match &policy.kind {
        AnswerKind::Wss | AnswerKind::JwsCompact => Err(unsigned()),
        AnswerKind::JwsDetached { header } if !incoming.headers.contains_key(header) => Err(unsigned()),
        AnswerKind::HttpSignature { .. } if !incoming.headers.contains_key("signature") => Err(unsigned()),
        _ => verify_beside(incoming, &[], it, policy),
    }?;
    Ok(authentic(WireAnswer::of_body(serde_json::Value::Null), incoming, it, beside))
}

fn authentic(answer: WireAnswer, incoming: &Incoming, it: &AnswerExpectation<'_>, beside: SignedBeside) -> Authentic {
    let answer = answer.with_head(it.exchange.coverage(), incoming.status, &incoming.headers, &beside.covered);
    Authentic { answer, replay_key: beside.replay_key, signed_at: beside.signed_at }
}

/// What a signature covers that stands in headers beside the body.
#[derive(Default)]
struct SignedBeside {
    covered: Vec<String>,
    replay_key: Option<ReplayKey>,
    signed_at: Option<Timestamp>,
}

fn authenticate_xml(
    incoming: &Incoming,
    content: &Content,
    it: &AnswerExpectation<'_>,
    policy: &AnswerPolicy,
    beside: Option<SignedBeside>,
) -> Result<Authentic, Fault> {
    let read = text(content, it)?;
    let not_xml = |refusal| Fault::new(Code::AnswerNotXml, Stage::Read, refusal);
    let document = xml::parse(&read.text).map_err(not_xml)?;
    let unexpected = |refusal| Fault::new(Code::AnswerUnexpected, Stage::Read, refusal);
    match &policy.kind {
        AnswerKind::Wss => {
            let verified = wss::verify_but_for_replay(&document, policy, it.now).map_err(bad_signature)?;
            // The node that was verified is the node that is read.
            let body = document.get_node(verified.body).ok_or_else(|| bad_signature("the Body is gone"))?;
            let headers = soap::open(&document).map_err(unexpected)?.headers;
            let is_signed = |node: &roxmltree::Node<'_, '_>| verified.signed.contains(&node.id());
            let mut answer = it.exchange.answer_of_envelope(body, &headers, is_signed).map_err(unexpected)?;
            // The signature covers the envelope and what was included in it; other parts are unsigned.
            answer.unsigned.parts = it.exchange.seen_parts(&read.parts);
            let (replay_key, signed_at) = (Some(verified.replay_key), Some(verified.created));
            let beside = SignedBeside { replay_key, signed_at, ..SignedBeside::default() };
            Ok(authentic(answer, incoming, it, beside))
        }
        AnswerKind::HttpSignature { .. } | AnswerKind::JwsDetached { .. } | AnswerKind::None => {
            let beside = beside.map_or_else(|| verify_beside(incoming, &content.whole, it, policy), Ok)?;
            let answer = if it.connection.adapter.protocol != Protocol::Rest {
                let envelope = soap::open(&document).map_err(unexpected)?;
                it.exchange.answer_of_envelope(envelope.body, &envelope.headers, |_| true)
            } else {
                it.exchange.answer_of_root(&document)
            };
            Ok(authentic(with_parts(answer.map_err(unexpected)?, &read.parts, it), incoming, it, beside))
        }
        AnswerKind::JwsCompact => Err(bad_signature("a compact JWS cannot carry XML here")),
    }
}

fn authenticate_json(
    incoming: &Incoming,
    content: &Content,
    it: &AnswerExpectation<'_>,
    policy: &AnswerPolicy,
    beside: Option<SignedBeside>,
) -> Result<Authentic, Fault> {
    let not_json = |problem: String| Fault::new(Code::AnswerNotJson, Stage::Read, problem);
    let of_text = |text: &str| WireAnswer::from_json(text.as_bytes()).map_err(|error| not_json(error.problem));
    match &policy.kind {
        AnswerKind::JwsCompact => {
            let token = std::str::from_utf8(content.root()).map_err(bad_signature)?;
            let verified = jws::verify_compact(token, policy, it.now).map_err(bad_signature)?;
            let read = charset::decode(&verified.payload, None, TextKind::Json);
            let answer = of_text(&read.map_err(|refusal| not_json(refusal.to_string()))?)?;
            Ok(authentic(answer, incoming, it, SignedBeside::default()))
        }
        _ => {
            let beside = beside.map_or_else(|| verify_beside(incoming, &content.whole, it, policy), Ok)?;
            let read = text(content, it)?;
            Ok(authentic(with_parts(of_text(&read.text)?, &read.parts, it), incoming, it, beside))
        }
    }
}

/// Whatever signs a whole message, or nothing, vouches for all of its parts.
fn with_parts(mut answer: WireAnswer, parts: &[&Part], it: &AnswerExpectation<'_>) -> WireAnswer {
    answer.vouched.parts = it.exchange.seen_parts(parts);
    answer
}

/// Signatures that stand in headers beside the body. `whole`: the content, no longer compressed, which a JWS is about; a
/// digest is about what was sent (RFC 9530, section 2).
fn verify_beside(
    incoming: &Incoming,
    whole: &[u8],
    it: &AnswerExpectation<'_>,
    policy: &AnswerPolicy,
) -> Result<SignedBeside, Fault> {
    match &policy.kind {
        AnswerKind::None => Ok(SignedBeside::default()),
        AnswerKind::JwsDetached { header } => {
            let token = incoming.headers.get(header).and_then(|token| token.to_str().ok());
            let token = token.ok_or_else(|| bad_signature("missing"))?;
            jws::verify_detached(token, whole, policy, it.now).map_err(bad_signature)?;
            Ok(SignedBeside::default())
        }
        AnswerKind::HttpSignature { .. } => {
            let status = StatusCode::from_u16(incoming.status).map_err(bad_signature)?;
            let start = HttpStart::Response { status };
            let message = HttpMessage { start, headers: &incoming.headers, body: &incoming.body };
            let verified = http_signature::verify_but_for_replay(&message, policy, it.now).map_err(bad_signature)?;
            let signed_at = Some(verified.created);
            Ok(SignedBeside { covered: verified.covered, replay_key: verified.replay_key, signed_at })
        }
        AnswerKind::Wss | AnswerKind::JwsCompact => {
            Err(bad_signature("the answer is not of the kind that is signed so"))
        }
    }
}

pub(super) fn bad_signature(reason: impl std::fmt::Display) -> Fault {
    Fault::new(Code::AnswerSignature, Stage::Read, reason)
}
