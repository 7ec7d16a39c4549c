//! What an office sees of a submission: the journal's record comes in, public JSON goes out, without any inner detail.

use crate::{
    domain::{Change, State},
    journal::Record,
};
use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

/// Everything but the timeline and the answer.
pub fn summary(record: &Record) -> Map<String, Value> {
    let (submission, progress) = (&record.submission, &record.progress);
    let mut view = Map::new();
    view.insert("id".into(), json!(submission.id));
    view.insert("service".into(), json!(submission.service));
    view.insert("agency".into(), json!(submission.agency));
    view.insert("state".into(), json!(progress.state.name()));
    view.insert("priority".into(), json!(submission.priority));
    view.insert("accepted_at".into(), json!(submission.accepted_at));
    view.insert("expires_at".into(), json!(submission.expires_at));
    view.insert("changed_at".into(), json!(record.changed_at));
    view.insert("attempts".into(), json!(progress.attempts));
    if let Some(since) = progress.waiting_since {
        view.insert("waiting_for_agency_since".into(), json!(since));
    }
    if progress.may_have_happened(submission.effect) {
        view.insert("in_doubt".into(), json!(true));
    }
    if let Some(fault) = progress.state.fault() {
        view.insert("fault".into(), json!({"code": fault.code, "text": fault.public_text()}));
    }
    if let Some(at) = record.erased_at {
        view.insert("erased_at".into(), json!(at));
    }
    view
}

pub fn whole(record: &Record, timeline: &[Change]) -> Value {
    let mut view = summary(record);
    view.insert("timeline".into(), timeline.iter().map(change).collect());
    match &record.progress.state {
        State::Completed { answer: Some(answer) } if record.erased_at.is_none() => {
            view.insert("answer".into(), answer.0.clone());
        }
        State::Completed { answer: None } if record.erased_at.is_none() => {
            view.insert("answer_missing".into(), json!(true));
        }
        State::Refused { refusal } if record.erased_at.is_none() => {
            view.insert("refusal".into(), json!({"code": refusal.code, "text": refusal.text}));
        }
        State::Retrying { due_at, .. } => {
            view.insert("due_at".into(), json!(due_at));
        }
        _ => {}
    }
    Value::Object(view)
}

pub fn change(change: &Change) -> Value {
    json!({"at": change.at, "state": change.to, "cause": public_cause(&change.cause)})
}

/// Which operator did it is nobody's business outside.
fn public_cause(cause: &str) -> &str {
    let known = [
        ("discarded by", "discarded by an operator"),
        ("replayed", "replayed by an operator"),
        ("found to have happened", "found by an operator to have happened"),
        ("found not to have happened", "found by an operator not to have happened"),
        ("to be asked about again", "asked about again for an operator"),
        ("journal restored", "journal restored"),
    ];
    known.into_iter().find(|(begin, _)| cause.starts_with(begin)).map_or(cause, |(_, public)| public)
}

pub fn json_response(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(serde_json::to_vec(value).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Event, Finding, State};

    #[test]
    fn an_operators_name_is_not_shown() {
        assert_eq!(public_cause("discarded by jane"), "discarded by an operator");
        for cause in [Some(1), None]
            .map(|accepts_repeat| Event::Replayed { by: "jane".into(), accepts_repeat }.cause(&State::Accepted))
        {
            assert_eq!(public_cause(&cause), "replayed by an operator");
        }
        assert_eq!(public_cause(&Event::Restored { by: "jane".into() }.cause(&State::Accepted)), "journal restored");
        for (finding, public) in [
            (Finding::Happened { answer: None }, "found by an operator to have happened"),
            (Finding::DidNotHappen, "found by an operator not to have happened"),
            (Finding::AskAgain, "asked about again for an operator"),
        ] {
            let resolved = Event::Resolved { by: "jane".into(), seen: 1, finding };
            assert_eq!(public_cause(&resolved.cause(&State::Accepted)), public);
        }
        assert_eq!(public_cause("attempt 1"), "attempt 1");
    }
}
