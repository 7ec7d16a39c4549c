//! `POST /v1/submissions`: a standard request comes in; once the journal has it, its number or its answer goes out.

use super::{
    Call, Desk, Problem, Reply,
    body::{BodyReader, Pace},
    doorman::KnownOffice,
    headers,
    limits::Waiting,
    view,
    wish::Wish,
};
use crate::{
    broker::Announcement,
    crash::{self, Point},
    domain::{Change, Code, StateName, SubmissionId, TraceParent},
    journal::{Acceptance, IdempotencyKey, Record},
    json::{self, Rules},
};
use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::Instant,
};

/// What the office is told to wait before it asks again.
const ASK_AGAIN_SECS: u64 = 2;
/// Announcements may be lost: the journal is read this often in any case.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub async fn submit(desk: Arc<Desk>, call: Call) -> Reply {
    let key = headers::idempotency_key(&call.headers)?;
    let wait = headers::preferred_wait(&call.headers);
    headers::require_json(&call.headers)?;
    let (limits, settings) = (&desk.limits, &desk.settings);
    let max_bytes = settings.max_body_bytes as u64;
    let pace = Pace { timeout: settings.body_timeout, window: settings.body_timeout / 3 };
    let body = BodyReader::new(call.body, max_bytes, Code::RequestTooLarge, pace)?;
    let body = body.hold(limits, &call.office.limits).await?;
    let counted = json::parse_counted(&body.bytes, Rules::OFFICE)?;
    // Many small values take more than their text: as much as they need, if the gateway has so much at all.
    let tree_bytes = (counted.values * json::BYTES_PER_VALUE).min(settings.max_memory_bytes / 4);
    let tree_memory = limits.memory(&call.office.limits, tree_bytes)?;
    let wish = Wish::read(&desk, &call.office, counted.value)?;
    // From here on the answer may come at any moment; listening begins before there is anything to miss.
    let hints = desk.broker.announcements();
    let (id, is_repeated) = accept(&desk, &call.office, key, wish, call.trace).await?;
    drop((body, tree_memory, call.under_way));
    reply(&desk, &call.office, id, is_repeated, wait, hints).await
}

async fn accept(
    desk: &Desk,
    office: &KnownOffice,
    key: String,
    wish: Wish,
    trace: TraceParent,
) -> Result<(SubmissionId, bool), Problem> {
    let key = IdempotencyKey { key, body_sha256: wish.sha256() };
    // A repeated request is answered from the journal even if it could not be made anew: its deadline may have passed.
    let known = desk.journal.find_key(&office.office.name, &key).await?;
    let (acceptance, id) = match known {
        Some(acceptance) => (acceptance, None),
        None => {
            let submission = wish.into_submission(desk, office, trace).await?;
            crash::here(Point::GatewayValidated);
            let acceptance = desk.journal.accept(&submission, &key, office.office.has_webhook).await?;
            crash::here(Point::GatewayJournaled);
            if acceptance == Acceptance::New {
                desk.metrics.submission(StateName::Accepted, &submission.service, &submission.agency);
                desk.outbox_work.iter().for_each(|work| work.notify_one());
                tracing::info!(submission = %submission.id, service = %submission.service, "accepted");
            }
            (acceptance, Some(submission.id))
        }
    };
    match (acceptance, id) {
        (Acceptance::New, Some(id)) => Ok((id, false)),
        (Acceptance::Repeated(id), _) => Ok((id, true)),
        (Acceptance::KeyReused, _) => Err(Code::IdempotencyKeyReused.into()),
        (Acceptance::New, None) => Err(Code::Internal.into()),
    }
}

async fn reply(
    desk: &Desk,
    office: &KnownOffice,
    id: SubmissionId,
    is_repeated: bool,
    wait: Option<Duration>,
    hints: Receiver<Announcement>,
) -> Reply {
    // A preference may be passed over: an office with too many waits open gets its number at once.
    let waiting = wait.and_then(|wait| desk.limits.wait(&office.limits).map(|permit| (wait, permit)));
    let applied = waiting.as_ref().map(|(wait, _)| *wait);
    let record = match waiting {
        Some((wait, permit)) => until_settled(desk, id, wait, hints, permit).await?,
        None => desk.find(office, id).await?,
    };
    let timeline = desk.journal.timeline(id).await?;
    Ok(written(&record, &timeline, is_repeated, applied))
}

fn written(record: &Record, timeline: &[Change], is_repeated: bool, applied: Option<Duration>) -> Response<Body> {
    let is_settled = record.progress.state.name().is_settled();
    let status = if is_settled { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = view::json_response(status, &view::whole(record, timeline));
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
    desk: &Desk,
    id: SubmissionId,
    wait: Duration,
    mut hints: Receiver<Announcement>,
    _permit: Waiting,
) -> Result<Record, Problem> {
    let deadline = Instant::now() + wait;
    loop {
        let record = desk.journal.find(id).await?.ok_or(Code::RequestNotFound)?;
        let is_over = Instant::now() >= deadline || desk.shutdown.is_cancelled();
        if is_over || record.progress.state.name().is_settled() {
            return Ok(record);
        }
        let look_at = deadline.min(Instant::now() + LOOK_EVERY);
        tokio::select! {
            () = news(&mut hints, id) => {}
            () = tokio::time::sleep_until(look_at) => {}
            () = desk.shutdown.cancelled() => {}
        }
    }
}

/// Ends when something was announced about this submission, or may have been.
pub async fn news(hints: &mut Receiver<Announcement>, id: SubmissionId) {
    loop {
        match hints.recv().await {
            Ok(announcement) if announcement.submission != id => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            // The broker is closed: from now on only looking helps.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
