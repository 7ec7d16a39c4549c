//! `punte trust verify`: a policy and messages' files come in; each verdict and its reason go out, exit code 0 or 1.

use super::{
    http_file::{HttpFile, StartLine},
    messages, output,
    trust_policy::PolicyFiles,
};
use crate::{
    delivery::headers_that_count,
    soap::content::{Content, TextKind, open_content},
    trust::{
        AnswerKind, AnswerPolicy, CertificateFacts, ReplayCache,
        http_signature::{self, HttpMessage, HttpStart},
        jws, wss,
    },
    xml,
};
use bytes::Bytes;
use clap::Args;
use http::HeaderMap;
use jiff::Timestamp;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    pub policy: PolicyFiles,
    /// The messages, or folders of them: SOAP envelopes, JWS, or HTTP responses with start line and headers
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    pub message: Vec<PathBuf>,
    /// What a detached JWS is about
    #[arg(long, value_name = "FILE")]
    pub payload: Option<PathBuf>,
    /// Judge as if it were this time (RFC 3339, e.g. 2026-11-21T10:00:00Z)
    #[arg(long, value_name = "TIME")]
    pub now: Option<Timestamp>,
    /// Remember what was accepted: a message that comes again is refused
    #[arg(long)]
    pub in_sequence: bool,
    /// One JSON object a message: {message, accepted, reason, text, signer, fingerprint_sha256, algorithm}
    #[arg(long)]
    pub json: bool,
}

/// What the command prints.
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

#[derive(Serialize)]
struct Named<'a> {
    message: &'a Path,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

/// Every message in turn. Exits 0 if all are accepted, and 1 if one is refused or cannot be read.
pub fn run(verify: &Verify) -> ExitCode {
    let now = verify.now.unwrap_or_else(Timestamp::now);
    let policy = verify.policy.load(now);
    let replays = ReplayCache::default();
    let (mut accepted, mut refused) = (0_usize, 0_usize);
    let messages = messages::listed(&verify.message);
    let format = output::Format::from_flag(verify.json);
    for message in &messages {
        let fresh = ReplayCache::default();
        let replays = if verify.in_sequence { &replays } else { &fresh };
        let verdict = match &policy {
            Ok(policy) => judge(message, verify.payload.as_deref(), &Judging { policy, now, replays }),
            Err(text) => Verdict::refused("profile", text.clone()),
        };
        verdict.tell(message, messages.len() > 1, format);
        *(if verdict.accepted { &mut accepted } else { &mut refused }) += 1;
    }
    if messages.len() != 1 && !verify.json {
        output::line(format_args!("{} messages: {accepted} accepted, {refused} refused", messages.len()));
    }
    match (accepted, refused) {
        (1.., 0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// By a profile alone. `payload` is what a detached JWS is about; nothing else uses it.
pub fn verify_message(profile: &Path, message: &Path, payload: Option<&Path>, now: Timestamp) -> Verdict {
    let policy = PolicyFiles { profile: Some(profile.to_owned()), ..PolicyFiles::default() }.load(now);
    match policy {
        Ok(policy) => judge(message, payload, &Judging { policy: &policy, now, replays: &ReplayCache::default() }),
        Err(text) => Verdict::refused("profile", text),
    }
}

struct Judging<'a> {
    policy: &'a AnswerPolicy,
    now: Timestamp,
    replays: &'a ReplayCache,
}

fn judge(message: &Path, payload: Option<&Path>, by: &Judging<'_>) -> Verdict {
    let (bytes, payload) = match (messages::read(message), payload.map(messages::read).transpose()) {
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

impl Verdict {
    fn refused(reason: &str, text: String) -> Self {
        Self { accepted: false, reason: reason.into(), text, signer: None, fingerprint_sha256: None, algorithm: None }
    }

    fn accepted(signer: CertificateFacts, algorithm: &str) -> Self {
        Self {
            accepted: true,
            reason: "accepted".into(),
            text: "the signature holds and follows the profile".into(),
            signer: Some(signer.subject),
            fingerprint_sha256: Some(signer.fingerprint_sha256),
            algorithm: Some(algorithm.into()),
        }
    }

    fn tell(&self, message: &Path, among_others: bool, format: output::Format) {
        let named = Named { message, verdict: self };
        match (format, among_others) {
            (output::Format::Json, _) => output::json(&named),
            (output::Format::Text, true) => {
                output::line(format_args!("{}: {}", message.display(), self.for_people().replace('\n', "; ")))
            }
            (output::Format::Text, false) => output::line(self.for_people()),
        }
    }

    fn for_people(&self) -> String {
        match (self.accepted, &self.signer, &self.algorithm) {
            (true, Some(signer), Some(algorithm)) => {
                format!("accepted: {}\nsigner: {signer}\nalgorithm: {algorithm}", self.text)
            }
            _ => format!("refused ({}): {}", self.reason, self.text),
        }
    }
}

fn verify_wss(content: &Content, by: &Judging<'_>) -> Verdict {
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
fn verify_detached(answer: &Opened, header: &str, payload: Option<&[u8]>, by: &Judging<'_>) -> Verdict {
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

fn verify_jws(bytes: &[u8], payload: Option<&[u8]>, by: &Judging<'_>) -> Verdict {
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

fn verify_http(bytes: &[u8], by: &Judging<'_>) -> Verdict {
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
