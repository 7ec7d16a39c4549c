//! Read: the agency's bytes come in; what they mean, or why they cannot be believed, goes out.
//!
//! Nothing counts as an answer that was not verified. An error that is not signed, as they often are, can only make the
//! outcome unknown or blame the request; it can neither complete nor refuse a submission.

use super::Line;
use crate::{
    adapter::{Exchange, Form, Protocol, Reading, WireAnswer},
    catalogue::{Schema, SchemaFault},
    domain::{Code, Fault, Stage, SubmissionId},
    trust::{
        AnswerKind, AnswerPolicy,
        http_signature::{self, HttpMessage, HttpStart},
        jws, wss,
    },
    wire::{Received, SoapFault},
    xml,
};
use http::StatusCode;
use jiff::Timestamp;

/// What an answer is held against.
pub struct Answering<'a> {
    pub exchange: &'a Exchange,
    pub line: &'a Line,
    pub answer_schema: &'a Schema,
    /// Whether the answer must name our reference.
    pub correlates: bool,
    pub reference: SubmissionId,
    pub now: Timestamp,
}

pub fn read(received: &Received, it: &Answering<'_>) -> Result<Reading, Fault> {
    if let Some(fault) = fault_of_status(received, it.now) {
        return Err(fault);
    }
    let answer = match believe(received, it) {
        Ok(answer) => answer,
        // An error need not be signed, nor be of the expected media type, to be an error.
        Err(fault) => return Err(error_of_status(received.status).unwrap_or(fault)),
    };
    let reading = it
        .exchange
        .interpret(&answer, &it.reference.to_string())
        .map_err(|error| Fault::new(Code::AnswerMappingFailed, Stage::Read, error))?;
    let reading = check_reference(reading, it)?;
    match reading {
        Reading::Unmapped => Err(unmapped(&answer)),
        Reading::Answered { ref answer, .. } => check_schema(answer, it.answer_schema).map(|()| reading),
        other => Ok(other),
    }
}

/// What proxies and overloaded servers say, whatever the body.
fn fault_of_status(received: &Received, now: Timestamp) -> Option<Fault> {
    let code = match received.status {
        300..=399 => Code::AgencyRedirect,
        429 => Code::AgencyRateLimited,
        503 => Code::AgencyUnavailable,
        502 | 504 => Code::AgencyServerError,
        _ => return None,
    };
    Some(of_status(code, received.status).with_retry_after(received.retry_after(now)))
}

fn error_of_status(status: u16) -> Option<Fault> {
    match status {
        400..=499 => Some(of_status(Code::AgencyClientError, status)),
        500..=599 => Some(of_status(Code::AgencyServerError, status)),
        _ => None,
    }
}

fn of_status(code: Code, status: u16) -> Fault {
    Fault::new(code, Stage::Read, format!("HTTP status {status}"))
}

/// Media type, form and signature: what is left may be believed to be the agency's.
fn believe(received: &Received, it: &Answering<'_>) -> Result<WireAnswer, Fault> {
    let policy = it.line.answer_policy();
    check_media_type(received, it.exchange.expects(), &policy)?;
    match it.exchange.expects() {
        Form::Xml => believe_xml(received, it, &policy),
        Form::Json => believe_json(received, it, &policy),
    }
}

fn check_media_type(received: &Received, expected: Form, policy: &AnswerPolicy) -> Result<(), Fault> {
    if received.body.is_empty() && expected == Form::Json {
        return Ok(());
    }
    let media_type = received.media_type().unwrap_or_default();
    let is_expected = match policy.kind {
        AnswerKind::JwsCompact => matches!(media_type.as_str(), "application/jose" | "application/jwt"),
        _ => expected.is_media_type(&media_type),
    };
    if is_expected {
        return Ok(());
    }
    let shown: String = media_type.chars().take(80).collect();
    Err(Fault::new(Code::AnswerMediaType, Stage::Read, format!("`{shown}` with HTTP status {}", received.status)))
}

fn believe_xml(received: &Received, it: &Answering<'_>, policy: &AnswerPolicy) -> Result<WireAnswer, Fault> {
    let not_xml = |refusal| Fault::new(Code::AnswerNotXml, Stage::Read, refusal);
    let document = xml::decode(&received.body).and_then(xml::parse).map_err(not_xml)?;
    let unexpected = |refusal| Fault::new(Code::AnswerUnexpected, Stage::Read, refusal);
    match &policy.kind {
        AnswerKind::Wss => {
            let verified = wss::verify(&document, policy, it.now, &it.line.replays).map_err(bad_signature)?;
            // The node that was verified is the node that is read.
            let body = document.get_node(verified.body).ok_or_else(|| bad_signature("the Body is gone"))?;
            it.exchange.answer_of_body(received.status, body).map_err(unexpected)
        }
        AnswerKind::HttpSignature { .. } | AnswerKind::JwsDetached { .. } | AnswerKind::None => {
            verify_beside(received, it, policy)?;
            if it.line.adapter.protocol != Protocol::Rest {
                let envelope = crate::wire::open(&document).map_err(unexpected)?;
                it.exchange.answer_of_body(received.status, envelope.body).map_err(unexpected)
            } else {
                it.exchange.answer_of_root(received.status, &document).map_err(unexpected)
            }
        }
        AnswerKind::JwsCompact => Err(bad_signature("a compact JWS cannot carry XML here")),
    }
}

fn believe_json(received: &Received, it: &Answering<'_>, policy: &AnswerPolicy) -> Result<WireAnswer, Fault> {
    let payload = match &policy.kind {
        AnswerKind::JwsCompact => {
            let token = std::str::from_utf8(&received.body).map_err(bad_signature)?;
            jws::verify_compact(token, policy, it.now).map_err(bad_signature)?.payload
        }
        _ => {
            verify_beside(received, it, policy)?;
            received.body.to_vec()
        }
    };
    WireAnswer::from_json(received.status, &payload)
        .map_err(|error| Fault::new(Code::AnswerNotJson, Stage::Read, error.problem))
}

/// Signatures that stand in headers beside the body.
fn verify_beside(received: &Received, it: &Answering<'_>, policy: &AnswerPolicy) -> Result<(), Fault> {
    match &policy.kind {
        AnswerKind::None => Ok(()),
        AnswerKind::JwsDetached { header } => {
            let token = received.headers.get(header).and_then(|token| token.to_str().ok());
            let token = token.ok_or_else(|| bad_signature("missing"))?;
            jws::verify_detached(token, &received.body, policy, it.now).map(drop).map_err(bad_signature)
        }
        AnswerKind::HttpSignature { .. } => {
            let status = StatusCode::from_u16(received.status).map_err(bad_signature)?;
            let start = HttpStart::Response { status };
            let message = HttpMessage { start, headers: &received.headers, body: &received.body };
            http_signature::verify(&message, policy, it.now, &it.line.replays).map(drop).map_err(bad_signature)
        }
        AnswerKind::Wss | AnswerKind::JwsCompact => {
            Err(bad_signature("the answer is not of the kind that is signed so"))
        }
    }
}

fn bad_signature(reason: impl std::fmt::Display) -> Fault {
    Fault::new(Code::AnswerSignature, Stage::Read, reason)
}

/// An answer that names another request is somebody else's.
fn check_reference(reading: Reading, it: &Answering<'_>) -> Result<Reading, Fault> {
    let ours = it.reference.to_string();
    let mismatched = |text: &str| Err(Fault::new(Code::AnswerMismatched, Stage::Read, text));
    match reading.reference() {
        Some(theirs) if theirs != ours => mismatched("it names another reference"),
        None if it.correlates && is_about_a_request(&reading) => mismatched("it names no reference"),
        _ => Ok(reading),
    }
}

/// What would end the submission, or leave it to the agency.
fn is_about_a_request(reading: &Reading) -> bool {
    matches!(reading, Reading::Answered { .. } | Reading::Refused { .. } | Reading::Waiting { .. })
}

fn check_schema(answer: &serde_json::Value, schema: &Schema) -> Result<(), Fault> {
    let faults = schema.faults(answer);
    if faults.is_empty() {
        return Ok(());
    }
    let place = |fault: &SchemaFault| format!("{}: {}", without_numbers(&fault.pointer), fault.problem);
    let places: Vec<_> = faults.iter().take(10).map(place).collect();
    Err(Fault::new(Code::AnswerSchema, Stage::Read, places.join("; ")))
}

/// A member's name may be somebody's number.
fn without_numbers(pointer: &str) -> String {
    let step =
        |step: &str| if step.bytes().filter(u8::is_ascii_digit).count() > 5 { "…".into() } else { step.to_owned() };
    pointer.split('/').map(step).collect::<Vec<_>>().join("/")
}

/// The filter had nothing to say about a believed answer: its SOAP fault or HTTP status decides.
fn unmapped(answer: &WireAnswer) -> Fault {
    match &answer.soap_fault {
        Some(fault) => soap_fault(fault),
        None => error_of_status(answer.status)
            .unwrap_or_else(|| Fault::new(Code::AnswerUnexpected, Stage::Read, "the filter does not know this answer")),
    }
}

fn soap_fault(fault: &SoapFault) -> Fault {
    let code = if fault.blames_sender() { Code::AgencySoapClientFault } else { Code::AgencySoapServerFault };
    // The fault's text may quote the request: only its code is told.
    Fault::new(code, Stage::Read, format!("SOAP fault code `{}`", fault.code))
}
