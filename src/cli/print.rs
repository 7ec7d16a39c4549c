//! How a submission is shown to an operator: a record comes in, a JSON value or lines of text go out.
//!
//! Neither shows the subject or the data: an operator repairs the transport and needs no citizen's papers for it.

use crate::{
    domain::{Attempt, AttemptOutcome, Change, State},
    journal::Record,
};
use serde_json::{Value, json};

pub fn summary(record: &Record) -> Value {
    let submission = &record.submission;
    json!({
        "id": submission.id,
        "office": submission.office,
        "service": submission.service,
        "agency": submission.agency,
        "effect": submission.effect,
        "priority": submission.priority,
        "state": record.progress.state.name(),
        "attempts": record.progress.attempts,
        "in_doubt": record.progress.in_doubt,
        "accepted_at": submission.accepted_at,
        "expires_at": submission.expires_at,
        "changed_at": record.changed_at,
        "due_at": record.progress.state.due_at(),
        "waiting_for_agency_since": record.progress.waiting_since,
        "cause": cause(&record.progress.state),
    })
}

/// The code behind a state that needs an explanation.
pub fn cause(state: &State) -> Option<String> {
    match state {
        State::Refused { refusal } => Some(format!("agency.refused: {}", refusal.code)),
        State::Cancelled { by } => Some(format!("cancelled by {by}")),
        other => other.fault().map(|fault| fault.code.as_str().to_owned()),
    }
}

pub fn whole(record: &Record, timeline: &[Change], attempts: &[Attempt]) -> Value {
    let mut shown = summary(record);
    let fault = record.progress.state.fault();
    shown["fault"] = json!(fault.map(|fault| json!({
        "code": fault.code, "stage": fault.stage, "verdict": fault.verdict,
        "text": fault.public_text(), "detail": fault.detail,
    })));
    shown["trace_id"] = json!(record.submission.trace.trace_id());
    shown["timeline"] = timeline.iter().map(change).collect();
    shown["tries"] = attempts.iter().map(attempt).collect();
    shown
}

fn change(change: &Change) -> Value {
    json!({"at": change.at, "from": change.from, "to": change.to, "cause": change.cause,
        "by": change.by.as_ref().map(ToString::to_string)})
}

fn attempt(attempt: &Attempt) -> Value {
    let outcome = attempt.outcome.as_ref().map(|outcome| match outcome {
        AttemptOutcome::Failed { fault } => json!({"code": fault.code, "detail": fault.detail}),
        AttemptOutcome::Refused { code } => json!({"refused": code}),
        AttemptOutcome::Answered => json!("answered"),
        AttemptOutcome::Waiting => json!("waiting"),
        AttemptOutcome::PutBack => json!("put back unsent"),
    });
    let wire = attempt.wire.as_ref();
    json!({
        "number": attempt.number,
        "begun_at": attempt.begun_at,
        "ended_at": attempt.ended_at,
        "outcome": outcome,
        "http_status": wire.and_then(|wire| wire.http_status),
        "sent_bytes": wire.map(|wire| wire.sent.len()),
        "received_bytes": wire.map(|wire| wire.received.len()),
    })
}

/// One line of a list.
pub fn line(record: &Record) -> String {
    let submission = &record.submission;
    let cause = cause(&record.progress.state).unwrap_or_default();
    let doubt = if record.progress.in_doubt { "  (may have been done)" } else { "" };
    format!(
        "{}  {:<9}  {:<20}  {:<20}  {:>2} attempts  {}  {cause}{doubt}",
        submission.id,
        record.progress.state.name().as_str(),
        submission.service.as_str(),
        submission.office.as_str(),
        record.progress.attempts,
        submission.accepted_at.strftime("%Y-%m-%d %H:%M:%SZ"),
    )
}
