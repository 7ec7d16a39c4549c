//! `GET` and `DELETE` below `/v1/submissions`: an office's own submissions, one, many, or one to be taken back.

use super::{
    GatewayState, moment,
    office_request::{OfficeRequest, PathParameter, Reply},
    submission_view,
};
use crate::{
    domain::{Code, ServiceName, StateName, SubmissionId},
    http_server::Problem,
    journal::{JournalError, ListFilter, Record},
};
use axum::extract::{Query, State, rejection::QueryRejection};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 200;
/// What a cursor begins with, so that its form can change.
const CURSOR_VERSION: u8 = 1;

pub async fn show(
    State(state): State<Arc<GatewayState>>,
    PathParameter(id): PathParameter<SubmissionId>,
    request: OfficeRequest,
) -> Reply {
    let record = state.find(&request.office, id).await?;
    respond(&state, &record).await
}

async fn respond(state: &GatewayState, record: &Record) -> Reply {
    let timeline = state.submissions.timeline(record.submission.id).await?;
    Ok(submission_view::json_response(StatusCode::OK, &submission_view::whole(record, &timeline)))
}

pub async fn list(
    State(state): State<Arc<GatewayState>>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    request: OfficeRequest,
) -> Reply {
    let Query(query) = query?;
    let (mut filter, limit) = filter_of(&query)
        .map_err(|(name, problem)| Problem::at(Code::RequestParameter, format!("?{name}"), problem))?;
    filter.office = Some(request.office.office.name.clone());
    // One more than asked for tells whether there is a next page.
    let mut records = state.submissions.list(&filter, limit + 1).await?;
    let has_more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let next = records.last().filter(|_| has_more).map(|last| cursor(last.submission.id));
    let items: Vec<_> = records.iter().map(|record| Value::Object(submission_view::summary(record))).collect();
    let mut page = json!({"submissions": items});
    if let Some(next) = next {
        page["next"] = next.into();
    }
    Ok(submission_view::json_response(StatusCode::OK, &page))
}

pub async fn cancel(
    State(state): State<Arc<GatewayState>>,
    PathParameter(id): PathParameter<SubmissionId>,
    request: OfficeRequest,
) -> Reply {
    let record = state.find(&request.office, id).await?;
    if record.progress.state.name() == StateName::Cancelled {
        return respond(&state, &record).await;
    }
    match state.submissions.cancel(id, &request.office.office.name).await {
        Ok(_) => {}
        Err(JournalError::Forbidden(_)) => return Err(Code::NotCancellable.into()),
        Err(other) => return Err(other.into()),
    }
    let record = state.find(&request.office, id).await?;
    respond(&state, &record).await
}

type Pairs = [(String, String)];
type Wrong = (String, String);

pub fn filter_of(query: &Pairs) -> Result<(ListFilter, u32), Wrong> {
    let (mut filter, mut limit) = (ListFilter::default(), DEFAULT_PAGE);
    for (at, (name, value)) in query.iter().enumerate() {
        let wrong = |problem: &str| (name.clone(), problem.to_owned());
        if query[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(wrong("is there twice"));
        }
        match name.as_str() {
            "state" => filter.state = Some(StateName::from_text(value).ok_or_else(|| wrong(&no_state()))?),
            "service" => {
                filter.service = Some(value.parse::<ServiceName>().map_err(|_| wrong("is no service's name"))?);
            }
            "since" => filter.since = Some(moment::moment(value).ok_or_else(|| wrong(moment::NONE))?),
            "cursor" => filter.before = Some(submission_of(value).ok_or_else(|| wrong("is no cursor of ours"))?),
            "limit" => {
                let asked = value.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
                limit = asked.ok_or_else(|| wrong("must be from 1 to 200"))?;
            }
            _ => return Err((bounded(name), "is not a parameter of this address".into())),
        }
    }
    Ok((filter, limit))
}

fn no_state() -> String {
    let known: Vec<_> = StateName::ALL.iter().map(|name| name.as_str()).collect();
    format!("is no state; there are {}", known.join(", "))
}

fn bounded(name: &str) -> String {
    name.chars().take(64).collect()
}

pub fn cursor(last: SubmissionId) -> String {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend_from_slice(last.as_uuid().as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn submission_of(cursor: &str) -> Option<SubmissionId> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (version, id) = bytes.split_first()?;
    (*version == CURSOR_VERSION).then_some(())?;
    uuid::Uuid::from_slice(id).ok().map(SubmissionId::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &[(&str, &str)]) -> Vec<(String, String)> {
        query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_cursor_comes_back_as_what_it_was() {
        let id = SubmissionId::new();
        let (filter, limit) = filter_of(&pairs(&[("cursor", &cursor(id)), ("limit", "200")])).unwrap();
        assert_eq!((filter.before, limit), (Some(id), 200));
    }

    #[test]
    fn since_the_end_of_the_calendar_is_no_fault() {
        let (filter, _) = filter_of(&pairs(&[("since", "9999-12-31T23:59:59Z")])).unwrap();
        assert_eq!(filter.since, Some(jiff::Timestamp::MAX));
    }

    #[test]
    fn a_parameter_that_makes_no_sense_is_named() {
        for (name, value) in [
            ("state", "done"),
            ("service", "A"),
            ("since", "yesterday"),
            ("cursor", "AAAA"),
            ("cursor", "é"),
            ("limit", "0"),
            ("limit", "201"),
            ("order", "x"),
        ] {
            assert_eq!(filter_of(&pairs(&[(name, value)])).unwrap_err().0, name, "{value}");
        }
        assert_eq!(filter_of(&pairs(&[("limit", "1"), ("limit", "2")])).unwrap_err().0, "limit");
    }
}
