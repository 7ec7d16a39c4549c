//! `punte trust verify`: a profile's file and a message's file come in; the verdict and its reason go out, exit code 0 or 1.

use super::output;
use crate::trust::{
    AnswerKind, AnswerPolicy, CertificateFacts, ReplayCache, SealAsWritten,
    http_signature::{self, HttpMessage, HttpStart},
    jws, wss,
};
use crate::xml;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{path::Path, process::ExitCode};

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

/// Other tables of the file are not looked at, so that an `agency.toml` will do.
#[derive(Deserialize)]
struct ProfileFile {
    seal: SealAsWritten,
}

/// Exits 0 if the message is accepted, and 1 if it is refused or cannot be read.
pub fn run(profile: &Path, message: &Path, payload: Option<&Path>, json: bool) -> ExitCode {
    let verdict = verify_message(profile, message, payload, Timestamp::now());
    match json {
        true => output::line(serde_json::to_string(&verdict).unwrap_or_default()),
        false => output::line(verdict.for_people()),
    }
    match verdict.accepted {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// `payload` is what a detached JWS is about; nothing else uses it.
pub fn verify_message(profile: &Path, message: &Path, payload: Option<&Path>, now: Timestamp) -> Verdict {
    let policy = match policy_of(profile, now) {
        Ok(policy) => policy,
        Err(text) => return Verdict::refused("profile", text),
    };
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let (bytes, payload) = match (read(message), payload.map(read).transpose()) {
        (Ok(bytes), Ok(payload)) => (bytes, payload),
        (Err(text), _) | (_, Err(text)) => return Verdict::refused("unreadable", text),
    };
    match &policy.kind {
        AnswerKind::None => Verdict::refused("unsigned", "the profile does not have messages signed".into()),
        AnswerKind::Wss => verify_wss(&bytes, &policy, now),
        AnswerKind::JwsCompact => verify_jws(&bytes, None, &policy, now),
        AnswerKind::JwsDetached { .. } => match payload {
            Some(payload) => verify_jws(&bytes, Some(&payload), &policy, now),
            None => Verdict::refused("payload", "a detached JWS needs --payload FILE".into()),
        },
        AnswerKind::HttpSignature { .. } => verify_http(&bytes, &policy, now),
    }
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

    fn for_people(&self) -> String {
        match (self.accepted, &self.signer, &self.algorithm) {
            (true, Some(signer), Some(algorithm)) => {
                format!("accepted: {}\nsigner: {signer}\nalgorithm: {algorithm}", self.text)
            }
            _ => format!("refused ({}): {}", self.reason, self.text),
        }
    }
}

fn policy_of(path: &Path, now: Timestamp) -> Result<AnswerPolicy, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file: ProfileFile = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let base = path.parent().unwrap_or(Path::new("."));
    let profile = file.seal.check(base).map_err(|faults| {
        faults.iter().map(|fault| format!("{}: [seal] {fault}", path.display())).collect::<Vec<_>>().join("\n")
    })?;
    AnswerPolicy::load(&profile.answer, now).map_err(|error| error.to_string())
}

fn verify_wss(bytes: &[u8], policy: &AnswerPolicy, now: Timestamp) -> Verdict {
    let verified = xml::decode(bytes)
        .and_then(xml::parse)
        .map_err(wss::WssRefusal::from)
        .and_then(|document| wss::verify(&document, policy, now, &ReplayCache::default()));
    match verified {
        Ok(verified) => Verdict::accepted(verified.signer, verified.algorithm.as_str()),
        Err(refusal) => Verdict::refused(refusal.reason(), refusal.to_string()),
    }
}

fn verify_jws(bytes: &[u8], payload: Option<&[u8]>, policy: &AnswerPolicy, now: Timestamp) -> Verdict {
    let Ok(token) = str::from_utf8(bytes) else {
        return Verdict::refused("format", "the token is not text".into());
    };
    let verified = match payload {
        Some(payload) => jws::verify_detached(token, payload, policy, now),
        None => jws::verify_compact(token, policy, now),
    };
    match verified {
        Ok(verified) => Verdict::accepted(verified.signer, verified.algorithm.as_str()),
        Err(refusal) => Verdict::refused(refusal.reason(), refusal.to_string()),
    }
}

fn verify_http(bytes: &[u8], policy: &AnswerPolicy, now: Timestamp) -> Verdict {
    let Some(file) = HttpFile::read(bytes) else {
        let text = "expected a start line, header lines, an empty line, and the body";
        return Verdict::refused("format", text.into());
    };
    let start = match &file.start {
        StartLine::Request(method, uri) => HttpStart::Request { method, uri },
        StartLine::Response(status) => HttpStart::Response { status: *status },
    };
    let message = HttpMessage { start, headers: &file.headers, body: file.body };
    match http_signature::verify(&message, policy, now, &ReplayCache::default()) {
        Ok(verified) => Verdict::accepted(verified.signer, verified.algorithm.as_str()),
        Err(refusal) => Verdict::refused(refusal.reason(), refusal.to_string()),
    }
}

/// An HTTP/1.1 message as a file. A request's target is written in absolute form, or completed from `Host` with `https`.
struct HttpFile<'a> {
    start: StartLine,
    headers: HeaderMap,
    body: &'a [u8],
}

enum StartLine {
    Request(Method, Uri),
    Response(StatusCode),
}

impl<'a> HttpFile<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let find = |mark: &[u8]| bytes.windows(mark.len()).position(|window| window == mark).map(|at| (at, mark.len()));
        let (end, gap) = match (find(b"\r\n\r\n"), find(b"\n\n")) {
            (Some(network), Some(text)) => {
                if network.0 < text.0 {
                    network
                } else {
                    text
                }
            }
            (found, None) | (None, found) => found?,
        };
        let mut lines = str::from_utf8(bytes.get(..end)?).ok()?.lines();
        let start = lines.next()?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
        }
        Some(Self { start: start_line(start, &headers)?, headers, body: bytes.get(end + gap..)? })
    }
}

fn start_line(line: &str, headers: &HeaderMap) -> Option<StartLine> {
    let mut words = line.split(' ');
    let first = words.next()?;
    if first.starts_with("HTTP/") {
        return StatusCode::from_bytes(words.next()?.as_bytes()).ok().map(StartLine::Response);
    }
    let target = words.next()?;
    let absolute = match target.starts_with('/') {
        true => format!("https://{}{target}", headers.get("host")?.to_str().ok()?),
        false => target.to_owned(),
    };
    Some(StartLine::Request(Method::from_bytes(first.as_bytes()).ok()?, absolute.parse().ok()?))
}
