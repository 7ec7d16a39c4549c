//! `POST /v1/submissions`: a standard request comes in; once the journal has it, its number or its answer goes out.

use super::{
    GatewayState, headers,
    limits::Waiting,
    office_directory::KnownOffice,
    office_request::{OfficeRequest, Reply},
    submission_request::SubmissionRequest,
    submission_view,
};
use crate::{
    broker::{Watch, WorkItem},
    delivery::PendingAccept,
    domain::{Change, Code, StateName, Submission, SubmissionId, TraceParent},
    failpoints::{self, Failpoint},
    http_server::{BodyDeadlines, BodyReader, Problem},
    journal::{Acceptance, IdempotencyKey, Record},
    json::{self, Rules},
    roles::dispatch::{NoPublishSlot, PublishSlot},
    submissions::{PublishBy, Whole},
};
use axum::{extract::State, response::Response};
use http::{HeaderValue, StatusCode, header};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// What the office is told to wait before it asks again.
const ASK_AGAIN_SECS: u64 = 2;

pub async fn submit(State(state): State<Arc<GatewayState>>, request: OfficeRequest) -> Reply {
    let key = headers::idempotency_key(&request.headers)?;
    let wait = headers::preferred_wait(&request.headers)?;
    headers::require_json(&request.headers)?;
    let settings = &state.settings;
    let memory = state.limits.memory(&request.office.limits);
    let max_bytes = settings.max_body_bytes as u64;
    let deadlines = BodyDeadlines { timeout: settings.body_timeout, window: settings.body_timeout / 3 };
    let body = BodyReader::new(request.body, max_bytes, Code::RequestTooLarge, deadlines)?;
    let body = body.hold(memory).await?;
    let counted = json::parse_counted(&body.bytes, Rules::OFFICE)?;
    // Many small values take more than their text: as much as they need, if the gateway has so much at all.
    let tree_bytes = (counted.values * json::BYTES_PER_VALUE).min(settings.max_memory_bytes / 4);
    let tree_memory = memory.take(tree_bytes)?;
    let submission_request = SubmissionRequest::read(&state, &request.office, counted.value)?;
    let taken = accept(&state, &request.office, key, submission_request, request.trace).await?;
    drop((body, tree_memory, request.under_way, request.headers));
    reply(&state, &request.office, taken, wait).await
}

/// What the journal has.
struct Taken {
    id: SubmissionId,
    is_repeated: bool,
    /// Begun before there was anything to miss.
    watch: Watch,
}

async fn accept(
    state: &GatewayState,
    office: &KnownOffice,
    key: String,
    request: SubmissionRequest,
    trace: TraceParent,
) -> Result<Taken, Problem> {
    let key = IdempotencyKey { key, body_sha256: request.sha256() };
    let submission = match request.into_submission(state, office, trace).await {
        Ok(submission) => submission,
        // A repeated request is answered from the journal even if it could not be made anew: its deadline may have passed.
        Err(problem) => {
            return repeated(state, state.submissions.accepted_before(&office.office.name, &key).await?)
                .ok_or(problem)?;
        }
    };
    let record = Arc::new(Record::accepted(submission));
    let submission = &record.submission;
    let watch = state.broker.watch(submission.id);
    failpoints::hit(Failpoint::GatewayValidated);
    let slot_found = state.dispatch.as_ref().map_or(Err(NoPublishSlot::NoRoom), |dispatch| dispatch.slot(submission));
    let publish_by = match &slot_found {
        Ok(_) => PublishBy::Caller { until: PublishSlot::claimed_until(submission.accepted_at) },
        Err(NoPublishSlot::NoRoom) => PublishBy::Relay,
        Err(NoPublishSlot::BeyondShare) => PublishBy::RelayInTurn,
    };
    let mut slot = slot_found.ok();
    let journaled = state.submissions.accept(submission, &key, office.office.has_webhook, publish_by);
    let accepting = state.fast_path.accepting(&record);
    let early = if state.fast_path.publishes_early(accepting.as_ref()) { slot.take() } else { None };
    let published = async { early.into_iter().for_each(|slot| slot.fill(work_item(submission))) };
    let (acceptance, ()) = tokio::join!(biased; journaled, published);
    if !matches!(acceptance, Ok(Acceptance::New)) {
        state.dispatch.iter().for_each(|dispatch| dispatch.forget(submission));
    }
    let acceptance = acceptance?;
    failpoints::hit(Failpoint::GatewayJournaled);
    if acceptance != Acceptance::New {
        return repeated(state, Some(acceptance)).ok_or(Code::Internal)?;
    }
    accepting.into_iter().for_each(PendingAccept::is_accepted);
    tracing::info!(submission = %submission.id, service = %submission.service, "accepted");
    slot.into_iter().for_each(|slot| slot.fill(work_item(submission)));
    Ok(Taken { id: submission.id, is_repeated: false, watch })
}

/// `None` if the key did not come before.
fn repeated(state: &GatewayState, acceptance: Option<Acceptance>) -> Option<Result<Taken, Problem>> {
    match acceptance? {
        Acceptance::New => None,
        Acceptance::Repeated(id) => Some(Ok(Taken { id, is_repeated: true, watch: state.broker.watch(id) })),
        Acceptance::KeyReused(first) => Some(Err(Problem::reused_key(first))),
    }
}

fn work_item(submission: &Submission) -> WorkItem {
    let Submission { id, ref agency, ref office, priority, trace, .. } = *submission;
    WorkItem { submission: id, agency: agency.clone(), office: Some(office.clone()), priority, trace }
}

async fn reply(state: &GatewayState, office: &KnownOffice, taken: Taken, wait: Option<Duration>) -> Reply {
    let waiting = wait.and_then(|wait| Some((wait, may_wait(state, office)?)));
    let applied = waiting.as_ref().map(|(wait, _)| *wait);
    let Taken { id, is_repeated, watch } = taken;
    let found = match waiting {
        Some((wait, permit)) => until_settled(state, id, is_repeated, wait, watch, permit).await?,
        None => whole(state, id).await?,
    };
    Ok(written(&found.0, &found.1, is_repeated, applied))
}

/// A preference may be passed over: an office with too many waits open gets its number at once.
fn may_wait(state: &GatewayState, office: &KnownOffice) -> Option<Waiting> {
    let permit = state.limits.wait(&office.limits);
    if permit.is_none() {
        state.metrics.wait_declined();
        tracing::debug!("too many waits are open: this one is not honoured");
    }
    permit
}

async fn whole(state: &GatewayState, id: SubmissionId) -> Result<Whole, Problem> {
    Ok(Arc::new(state.submissions.find_whole(id).await?.ok_or(Code::RequestNotFound)?))
}

fn written(record: &Record, timeline: &[Change], is_repeated: bool, applied: Option<Duration>) -> Response {
    let is_settled = record.progress.state.name().is_settled();
    let status = if is_settled { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = submission_view::json_response(status, &submission_view::whole(record, timeline));
    let headers = response.headers_mut();
    let text = |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    headers.insert(header::LOCATION, text(format!("/v1/submissions/{}", record.submission.id)));
    if !is_settled {
        headers.insert(header::RETRY_AFTER, ASK_AGAIN_SECS.into());
    }
    if let Some(wait) = applied {
        headers.insert("preference-applied", text(format!("wait={}", wait.as_secs())));
    }
    if is_repeated {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// The record once it is settled, or as it is when the time is up or the gateway is being stopped.
async fn until_settled(
    state: &GatewayState,
    id: SubmissionId,
    mut may_be_settled: bool,
    wait: Duration,
    mut watch: Watch,
    _permit: Waiting,
) -> Result<Whole, Problem> {
    let awaiting = state.fast_path.wait(id);
    let deadline = Instant::now() + wait;
    loop {
        let is_over = Instant::now() >= deadline || state.shutdown.is_cancelled();
        if let Some(settled) = awaiting.settled() {
            return Ok(settled);
        }
        if may_be_settled || is_over {
            let found = whole(state, id).await?;
            if is_over || found.0.progress.state.name().is_settled() {
                return Ok(found);
            }
        }
        let look_at = deadline.min(Instant::now() + state.limits.look_every());
        may_be_settled = tokio::select! {
            state = watch.changed() => state.is_none_or(StateName::is_settled),
            () = tokio::time::sleep_until(look_at) => true,
            () = state.shutdown.cancelled() => true,
        };
    }
}
