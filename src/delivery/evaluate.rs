//! Evaluate: the agency's bytes come in; what they mean, or why they are not taken for its word, goes out.
//!
//! Nothing counts as an answer that was not verified. An error that is not signed, as they often are, can only make the
//! outcome unknown or blame the request; it can neither complete nor refuse a submission, nor say that nothing was done.

use super::{
    AnswerExpectation, Incoming,
    authenticate::{Authentic, authenticate, bad_signature},
    correlation::{self, CheckedReading},
    status::{StatusClass, StatusTrust, fault_of_status},
    unpack::unpack,
};
use crate::{
    adapter::{Protocol, Reading, WireAnswer},
    catalogue::{Schema, SchemaFault},
    domain::{Code, Fault, Stage},
    soap::{
        self, Blames, SoapFault,
        content::{HeadersThatCount, TextKind, plain},
    },
    xml,
};

pub fn evaluate(incoming: &Incoming, it: &AnswerExpectation<'_>) -> Result<Reading, Fault> {
    reading_of(incoming, it).map_err(|fault| answered_all_the_same(fault, incoming.status))
}

/// Whoever decides about the submission should know that the agency has answered, and how.
fn answered_all_the_same(fault: Fault, status: u16) -> Fault {
    let is_of_answer = fault.code.as_str().contains(".answer.");
    match StatusClass::of(status) {
        StatusClass::Success if is_of_answer && !fault.detail.contains("HTTP status") => {
            let detail = format!("the agency has answered with HTTP status {status}, but {}", fault.detail);
            Fault { detail, ..fault }
        }
        _ => fault,
    }
}

fn reading_of(incoming: &Incoming, it: &AnswerExpectation<'_>) -> Result<Reading, Fault> {
    let Authentic { answer, replay_key, signed_at } = match authenticate(incoming, it) {
        Ok(authentic) => authentic,
        Err(fault) => return Err(not_authentic(incoming, fault, it)),
    };
    let mapped = it
        .exchange
        .interpret(&answer, &it.sent_request.reference.to_string())
        .map_err(|error| Fault::new(Code::AnswerMappingFailed, Stage::Read, error))?;
    let CheckedReading { reading, is_uncorrelated } =
        correlation::check(mapped, &it.sent_request, signed_at, it.connection.answer_policy().max_clock_skew)?;
    // What names our request is its answer, however often the like of it comes; of what might be the answer to any request,
    // one is enough.
    if is_uncorrelated && replay_key.is_some_and(|replay_key| !it.connection.replays.is_new(replay_key, it.now)) {
        return Err(bad_signature("the message was seen before, and nothing in it names our request"));
    }
    match reading {
        Reading::Unmapped => Err(unmapped(incoming, &answer, it)),
        Reading::Answered { ref answer, .. } => check_schema(answer, it.answer_schema).map(|()| reading),
        other => Ok(other),
    }
}

/// An error counts without a signature, and its HTTP status counts whatever its media type. It makes nothing certain.
fn not_authentic(incoming: &Incoming, fault: Fault, it: &AnswerExpectation<'_>) -> Fault {
    let class = StatusClass::of_answer(incoming);
    let soap_fault = if class.goes_before_a_fault() { None } else { unsigned_soap_fault(incoming, it) };
    match soap_fault {
        Some(soap_fault) if !is_not_handled(incoming, it) => of_soap_fault(&soap_fault, ", unsigned"),
        _ if matches!(class, StatusClass::Success | StatusClass::Odd) => fault,
        // A page for people: how it begins says whose it is.
        _ if StatusClass::of(incoming.status) == StatusClass::Success => {
            let by_status = of_status(incoming, it);
            let detail = format!("{}: {}", by_status.detail, fault.detail);
            Fault { detail, ..by_status }
        }
        _ => of_status(incoming, it),
    }
}

/// The filter had nothing to say about an authentic answer: its SOAP fault or HTTP status decides. Neither names our request.
fn unmapped(incoming: &Incoming, answer: &WireAnswer, it: &AnswerExpectation<'_>) -> Fault {
    let class = StatusClass::of(incoming.status);
    let status_goes_first = is_not_handled(incoming, it) || (!it.sent_request.is_signed && class.goes_before_a_fault());
    match &answer.soap_fault {
        Some(fault) if !status_goes_first => of_soap_fault(fault, ""),
        _ if class == StatusClass::Success => {
            let text = match answer.body.is_null() {
                true => format!("it is empty, with HTTP status {}, and the filter does not know it", incoming.status),
                false => "the filter does not know this answer".to_owned(),
            };
            Fault::new(Code::AnswerUnexpected, Stage::Read, text)
        }
        _ => of_status(incoming, it),
    }
}

fn is_not_handled(incoming: &Incoming, it: &AnswerExpectation<'_>) -> bool {
    !it.sent_request.is_signed && it.not_handled.has_status(incoming.status)
}

fn of_status(incoming: &Incoming, it: &AnswerExpectation<'_>) -> Fault {
    let trust = match it.sent_request.is_signed {
        true => StatusTrust::Unsigned,
        false if is_not_handled(incoming, it) => StatusTrust::NotHandled,
        false => StatusTrust::NeverSigned,
    };
    fault_of_status(incoming, trust).with_retry_after(incoming.retry_after(it.now))
}

/// A fault that stands in an envelope which nobody has signed, or not so that it counts.
fn unsigned_soap_fault(incoming: &Incoming, it: &AnswerExpectation<'_>) -> Option<SoapFault> {
    if it.connection.adapter.protocol == Protocol::Rest || incoming.body.is_empty() {
        return None;
    }
    let content = unpack(incoming, it, HeadersThatCount::ALL).ok()?;
    if !it.exchange.expects().is_media_type(&content.media_type.essence) {
        return None;
    }
    let read = content.text(TextKind::Xml).ok()?;
    let document = xml::parse(&read.text).ok()?;
    it.exchange.fault_in(soap::open(&document).ok()?.body)
}

/// The fault's text may quote the request: only its code is told.
fn of_soap_fault(fault: &SoapFault, how: &str) -> Fault {
    let code = match fault.blames {
        Blames::Sender => Code::AgencySoapClientFault,
        Blames::Credentials => Code::CredentialsRefused,
        Blames::Receiver => Code::AgencySoapServerFault,
    };
    let subcodes: String = fault.subcodes.iter().map(|subcode| format!(" `{}`", plain(subcode))).collect();
    Fault::new(code, Stage::Read, format!("SOAP fault code `{}`{subcodes}{how}", plain(&fault.code)))
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
