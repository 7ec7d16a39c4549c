//! A message's file and a policy come in; it is opened as the worker opens an answer, and the verdict goes out.

use super::{
    http_file::{HttpFile, StartLine},
    message_files,
    policy_files::PolicyFiles,
    verdict::Verdict,
};
use crate::{
    delivery::headers_that_count,
    soap::content::{Content, TextKind, open_content},
    trust::{
        AnswerKind, AnswerPolicy, ReplayCache,
        http_signature::{self, HttpMessage, HttpStart},
        jws, wss,
    },
    xml,
};
use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use std::path::Path;

/// By what messages are judged.
pub struct SignatureCheck<'a> {
    pub policy: &'a AnswerPolicy,
    pub now: Timestamp,
    /// Messages that were accepted already: one that comes again is refused.
    pub replays: &'a ReplayCache,
}

/// By a profile alone. `payload` is what a detached JWS is about; nothing else uses it.
pub fn verify_message(profile: &Path, message: &Path, payload: Option<&Path>, now: Timestamp) -> Verdict {
    let policy = PolicyFiles { profile: Some(profile.to_owned()), ..PolicyFiles::default() }.load(now);
    match policy {
        Ok(policy) => {
            judge(message, payload, &SignatureCheck { policy: &policy, now, replays: &ReplayCache::default() })
        }
        Err(text) => Verdict::refused("profile", text),
    }
}

/// `payload` is what a detached JWS is about.
pub fn judge(message: &Path, payload: Option<&Path>, by: &SignatureCheck<'_>) -> Verdict {
    let (bytes, payload) = match (message_files::read(message), payload.map(message_files::read).transpose()) {
        (Ok(bytes), Ok(payload)) => (bytes, payload),
        (Err(text), _) | (_, Err(text)) => return Verdict::refused("unreadable", text),
    };
    match &by.policy.kind {
        AnswerKind::None => Verdict::refused("unsigned", "the profile does not have messages signed".into()),
        AnswerKind::Wss => {
            opened(bytes, &by.policy.kind).map_or_else(|refused| *refused, |answer| verify_wss(&answer.content, by))
        }
        AnswerKind::JwsCompact => opened(bytes, &by.policy.kind)
            .map_or_else(|refused| *refused, |answer| verify_jws(answer.content.root(), None, by)),
        AnswerKind::JwsDetached { header } => opened(bytes, &by.policy.kind)
            .map_or_else(|refused| *refused, |answer| verify_detached(&answer, header, payload.as_deref(), by)),
        AnswerKind::HttpSignature { .. } => verify_http(&bytes, by),
    }
}

/// A message as the worker opens it.
struct Opened {
    /// `None`: the file holds the message alone.
    headers: Option<HeaderMap>,
    content: Content,
}

/// What begins like an HTTP response is one, and is no longer compressed then, and its root part found.
fn opened(bytes: Vec<u8>, kind: &AnswerKind) -> Result<Opened, Box<Verdict>> {
    let (headers, body) = match bytes.starts_with(b"HTTP/") {
        false => (None, bytes.into()),
        true => {
            let file = HttpFile::read(&bytes).ok_or_else(|| Box::new(no_http()))?;
            (Some(file.headers), Bytes::copy_from_slice(file.body))
        }
    };
    let said = headers.clone().unwrap_or_default();
    let content = open_content(&said, &body, MAX_BYTES, headers_that_count(kind, &[]));
    let content = content.map_err(|refusal| Box::new(Verdict::refused("encoding", format!("encoding: {refusal}"))))?;
    Ok(Opened { headers, content })
}

/// Larger than any agency's answer may be.
const MAX_BYTES: usize = 16 << 20;

fn no_http() -> Verdict {
    Verdict::refused("format", "expected a start line, header lines, an empty line, and the body".into())
}

fn verify_wss(content: &Content, by: &SignatureCheck<'_>) -> Verdict {
    let text = match content.text(TextKind::Xml) {
        Ok(read) => read.text,
        Err(refusal) => return Verdict::refused("xml", format!("xml: {refusal}")),
    };
    let verified = xml::parse(&text)
        .map_err(wss::WssRefusal::from)
        .and_then(|document| wss::verify(&document, by.policy, by.now, by.replays));
    match verified {
        Ok(verified) => Verdict::accepted(verified.signer, verified.algorithm.as_str()),
        Err(refusal) => Verdict::refused(refusal.reason(), refusal.to_string()),
    }
}

/// The token stands in the response's header and is about its body, or is the file and about another.
fn verify_detached(answer: &Opened, header: &str, payload: Option<&[u8]>, by: &SignatureCheck<'_>) -> Verdict {
    match (&answer.headers, payload) {
        (Some(headers), None) => match headers.get(header) {
            Some(token) => verify_jws(token.as_bytes(), Some(&answer.content.whole), by),
            None => Verdict::refused("missing", format!("the response has no header {header}")),
        },
        (None, Some(payload)) => verify_jws(answer.content.root(), Some(payload), by),
        (None, None) => Verdict::refused("payload", "a detached JWS needs --payload FILE".into()),
        (Some(_), Some(_)) => Verdict::refused(
            "payload",
            "the message is an HTTP response with a body of its own: leave out --payload".into(),
        ),
    }
}

fn verify_jws(bytes: &[u8], payload: Option<&[u8]>, by: &SignatureCheck<'_>) -> Verdict {
    let Ok(token) = str::from_utf8(bytes) else {
        return Verdict::refused("format", "the token is not text".into());
    };
    let verified = match payload {
        Some(payload) => jws::verify_detached(token, payload, by.policy, by.now),
        None => jws::verify_compact(token, by.policy, by.now),
    };
    match verified {
        Ok(verified) => Verdict::accepted(verified.signer, verified.algorithm.as_str()),
        Err(refusal) => Verdict::refused(refusal.reason(), refusal.to_string()),
    }
}

fn verify_http(bytes: &[u8], by: &SignatureCheck<'_>) -> Verdict {
    let Some(file) = HttpFile::read(bytes) else { return no_http() };
    let start = match &file.start {
        StartLine::Request(method, uri) => HttpStart::Request { method, uri },
        StartLine::Response(status) => HttpStart::Response { status: *status },
    };
    let message = HttpMessage { start, headers: &file.headers, body: file.body };
    match http_signature::verify(&message, by.policy, by.now, by.replays) {
        Ok(verified) => Verdict::accepted(verified.signer, verified.algorithm.as_str()),
        Err(refusal) => Verdict::refused(refusal.reason(), refusal.to_string()),
    }
}
