//! Rows and the domain's types: columns come in, records, changes and attempts go out, and the other way round.

use super::{
    Due, JournalError, Notice, OutboxItem, Record, StateCount,
    store::{Row, Value},
};
use crate::domain::{
    AttachmentRef, Attempt, AttemptOutcome, CallContext, Change, Effect, Priority, Progress, Refusal, State, StateName,
    Subject, Submission, SubmissionId, WireRecord,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::str::FromStr;

/// The columns of a [`Record`], in the order in which [`record`] reads them.
pub const RECORD: &str = "id, office, service, agency, effect, priority, accepted_at, expires_at, trace, body, \
                          state_data, attempts, tries, in_doubt, waiting_since, changed_at, erased_at";
/// The same for lists, without what may be large and nobody reads there: a page of them would fill the memory.
pub const LISTED: &str = "id, office, service, agency, effect, priority, accepted_at, expires_at, trace, \
                          CAST(NULL AS text) AS body, CASE WHEN state = 'completed' THEN \
                          '{\"state\":\"completed\",\"answer\":null}' ELSE state_data END AS state_data, \
                          attempts, tries, in_doubt, waiting_since, changed_at, erased_at";
/// The columns of a [`Due`].
pub const DUE: &str = "id, agency, service, effect, state_data, attempts, tries, in_doubt, waiting_since";
/// The columns of an [`Attempt`].
pub const ATTEMPT: &str = "submission, number, begun_at, ended_at, outcome, sent, received, http_status, truncated";

/// The personal part of a submission: one column, erased as a whole.
#[derive(Serialize, Deserialize)]
struct Body {
    context: CallContext,
    subject: Subject,
    data: serde_json::Value,
    attachments: Vec<AttachmentRef>,
}

pub fn record(row: &mut Row) -> Result<Record, JournalError> {
    let (id, office, service, agency) = (row.id()?, parsed(row)?, parsed(row)?, parsed(row)?);
    let (effect, priority) = (effect(row)?, priority(row)?);
    let (accepted_at, expires_at, trace) = (row.time()?, row.time()?, trace(row)?);
    let body = match row.optional_text()? {
        Some(text) => from_json(row, &text)?,
        None => Body::erased(),
    };
    let Body { context, subject, data, attachments } = body;
    let submission = Submission {
        id,
        office,
        service,
        agency,
        effect,
        priority,
        context,
        subject,
        data,
        attachments,
        accepted_at,
        expires_at,
        trace,
    };
    Ok(Record { submission, progress: progress(row)?, changed_at: row.time()?, erased_at: row.optional_time()? })
}

pub fn due(mut row: Row) -> Result<Due, JournalError> {
    Ok(Due {
        id: row.id()?,
        agency: parsed(&mut row)?,
        service: parsed(&mut row)?,
        effect: effect(&mut row)?,
        progress: progress(&mut row)?,
    })
}

/// The columns that [`progress`] reads.
pub const PROGRESS: &str = "state_data, attempts, tries, in_doubt, waiting_since";

pub fn progress(row: &mut Row) -> Result<Progress, JournalError> {
    Ok(Progress {
        state: json(row)?,
        attempts: row.whole()?,
        tries: row.whole()?,
        in_doubt: row.flag()?,
        waiting_since: row.optional_time()?,
    })
}

/// Reads `submission, at, from_state, to_state, cause, actor`.
pub fn change(mut row: Row) -> Result<Change, JournalError> {
    row.id::<SubmissionId>()?;
    let at = row.time()?;
    let from = row.optional_text()?.map(|text| state_named(&row, &text)).transpose()?;
    let (to, cause) = (state_name(&mut row)?, row.text()?);
    // Of somebody whom only a newer program knows, the rest of the line is shown all the same.
    let by = row.optional_text()?.and_then(|text| text.parse().ok());
    Ok(Change { at, from, to, cause, by })
}

pub fn attempt(mut row: Row) -> Result<Attempt, JournalError> {
    let (submission, number, begun_at, ended_at) = (row.id()?, row.whole()?, row.time()?, row.optional_time()?);
    let outcome = match row.optional_text()? {
        Some(text) => Some(from_json::<AttemptOutcome>(&row, &text)?),
        None => None,
    };
    let bytes = row.optional_bytes()?.zip(row.optional_bytes()?);
    let http_status = row.optional_whole()?.and_then(|status| u16::try_from(status).ok());
    let truncated = row.flag()?;
    let wire = bytes.map(|(sent, received)| WireRecord { sent, received, http_status, truncated });
    Ok(Attempt { submission, number, begun_at, ended_at, outcome, wire })
}

/// Reads `submission, agency, office, urgent, trace`.
pub fn outbox_item(row: &mut Row) -> Result<OutboxItem, JournalError> {
    // A program that did not know of the column has left it empty.
    let (submission, agency, office) = (row.id()?, parsed(row)?, row.text()?.parse().ok());
    let priority = if row.flag()? { Priority::Urgent } else { Priority::Ordinary };
    Ok(OutboxItem { submission, agency, office, priority, trace: trace(row)? })
}

/// Reads `id, office, submission, state, happened_at, tries`.
pub fn notice(mut row: Row) -> Result<Notice, JournalError> {
    Ok(Notice {
        id: row.id()?,
        office: parsed(&mut row)?,
        submission: row.id()?,
        state: state_name(&mut row)?,
        happened_at: row.time()?,
        tries: row.whole()?,
    })
}

/// Reads `agency, state, count`.
pub fn state_count(mut row: Row) -> Result<StateCount, JournalError> {
    Ok(StateCount { agency: parsed(&mut row)?, state: state_name(&mut row)?, count: row.whole()? })
}

/// Reads `id, sha256, size_bytes, media_type, name`.
pub fn attachment(mut row: Row) -> Result<AttachmentRef, JournalError> {
    Ok(AttachmentRef {
        id: row.id()?,
        sha256: row.text()?,
        size_bytes: row.whole()?,
        media_type: row.text()?,
        name: row.text()?,
    })
}

pub fn parsed<T: FromStr>(row: &mut Row) -> Result<T, JournalError> {
    row.text()?.parse().map_err(|_| row.unreadable("a valid name"))
}

pub fn priority(row: &mut Row) -> Result<Priority, JournalError> {
    let text = row.text()?;
    Priority::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| row.unreadable("a priority"))
}

pub fn trace(row: &mut Row) -> Result<crate::domain::TraceParent, JournalError> {
    crate::domain::TraceParent::parse(&row.text()?).ok_or_else(|| row.unreadable("a traceparent"))
}

pub fn effect(row: &mut Row) -> Result<Effect, JournalError> {
    let text = row.text()?;
    Effect::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| row.unreadable("an effect"))
}

fn state_name(row: &mut Row) -> Result<StateName, JournalError> {
    let text = row.text()?;
    state_named(row, &text)
}

fn state_named(row: &Row, text: &str) -> Result<StateName, JournalError> {
    StateName::from_text(text).ok_or_else(|| row.unreadable("a state"))
}

fn json<T: DeserializeOwned>(row: &mut Row) -> Result<T, JournalError> {
    let text = row.text()?;
    from_json(row, &text)
}

/// The text of serde's errors may quote the document, so it is dropped.
fn from_json<T: DeserializeOwned>(row: &Row, text: &str) -> Result<T, JournalError> {
    serde_json::from_str(text).map_err(|_| row.unreadable("the expected JSON"))
}

pub fn body_column(submission: &Submission) -> Result<Value, JournalError> {
    #[derive(Serialize)]
    struct Borrowed<'a> {
        context: &'a CallContext,
        subject: &'a Subject,
        data: &'a serde_json::Value,
        attachments: &'a [AttachmentRef],
    }
    let Submission { context, subject, data, attachments, .. } = submission;
    json_column(&Borrowed { context, subject, data, attachments })
}

pub fn json_column<T: Serialize>(value: &T) -> Result<Value, JournalError> {
    let text = serde_json::to_string(value);
    text.map(Value::Text).map_err(|_| JournalError::Corrupt("a value cannot be written as JSON".into()))
}

impl Body {
    fn erased() -> Self {
        let blank = String::new;
        Self {
            context: CallContext { clerk: blank(), entity: blank(), legal_basis: blank(), reason: blank() },
            subject: Subject { scheme: blank(), id: blank() },
            data: serde_json::Value::Null,
            attachments: Vec::new(),
        }
    }
}

/// The same state without what the agency said about a person.
pub fn erased(state: State) -> State {
    match state {
        State::Completed { .. } => State::Completed { answer: None },
        State::Refused { refusal } => State::Refused { refusal: Refusal { text: String::new(), ..refusal } },
        State::Accepted
        | State::Queued
        | State::Sending { .. }
        | State::Waiting { .. }
        | State::Retrying { .. }
        | State::Parked { .. }
        | State::Uncertain { .. }
        | State::Expired { .. }
        | State::Cancelled { .. } => state,
    }
}
