//! `GET /v1/submissions/{id}/events`: the changes of one submission go out as server-sent events until it is settled.

use super::{
    GatewayState,
    limits::Waiting,
    office_request::{OfficeRequest, PathParameter, Reply},
    submission_view,
};
use crate::{
    broker::Watch,
    domain::{Change, Code, SubmissionId},
    http_server::Problem,
};
use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::time::Instant;

/// The certificate is judged with each request: a stream that lasted for ever would outlive it.
const LONGEST_STREAM: Duration = Duration::from_secs(600);
/// A comment this often keeps proxies from closing a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One stream, and how far it has come.
struct Follower {
    state: Arc<GatewayState>,
    id: SubmissionId,
    watch: Watch,
    /// How many changes were sent: the number of the last one is its event's id.
    sent: usize,
    /// Read, but not sent yet.
    waiting: Vec<Change>,
    ends_at: Instant,
    last_sent_at: Instant,
    _permit: Waiting,
}

pub async fn events(
    State(state): State<Arc<GatewayState>>,
    PathParameter(id): PathParameter<SubmissionId>,
    request: OfficeRequest,
) -> Reply {
    let sent = last_event_id(&request.headers)?;
    let watch = state.broker.watch(id);
    let record = state.find(&request.office, id).await?;
    let Some(permit) = state.limits.wait(&request.office.limits) else {
        return Err(Problem::from(Code::RateLimited).retry_after(KEEP_ALIVE));
    };
    let timeline = state.submissions.timeline(id).await?;
    if record.progress.state.name().is_settled() && sent >= timeline.len() {
        // The client has everything; 204 tells an EventSource not to come back (HTML, section 9.2.3).
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let now = Instant::now();
    let (waiting, ends_at) = (unsent(timeline, sent), now + LONGEST_STREAM);
    let follower = Follower { state, id, watch, sent, waiting, ends_at, last_sent_at: now, _permit: permit };
    Ok(streamed(follower))
}

fn streamed(follower: Follower) -> Response {
    let stream = futures_util::stream::unfold(follower, |mut follower| async move {
        let text = follower.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), follower))
    });
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

fn unsent(timeline: Vec<Change>, sent: usize) -> Vec<Change> {
    timeline.into_iter().skip(sent).collect()
}

fn last_event_id(headers: &HeaderMap) -> Result<usize, Problem> {
    match headers.get("last-event-id") {
        None => Ok(0),
        Some(field) => field
            .to_str()
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| Problem::at(Code::RequestHeader, "Last-Event-ID", "is not the id of an event of ours")),
    }
}

impl Follower {
    /// The next piece of the stream; `None` at its end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if !self.waiting.is_empty() {
                return Some(self.render_changes());
            }
            let is_over = Instant::now() >= self.ends_at || self.state.shutdown.is_cancelled();
            let record = if is_over { None } else { self.state.submissions.find(self.id).await.ok().flatten() };
            let is_settled = record?.progress.state.name().is_settled();
            self.waiting = unsent(self.state.submissions.timeline(self.id).await.ok()?, self.sent);
            if !self.waiting.is_empty() {
                continue;
            }
            if is_settled {
                return None;
            }
            if self.last_sent_at.elapsed() >= KEEP_ALIVE {
                self.last_sent_at = Instant::now();
                return Some(": still here\n\n".into());
            }
            tokio::select! {
                _ = self.watch.changed() => {}
                () = tokio::time::sleep(self.state.limits.look_every()) => {}
                () = self.state.shutdown.cancelled() => {}
            }
        }
    }

    fn render_changes(&mut self) -> String {
        let changes = std::mem::take(&mut self.waiting);
        let mut text = String::new();
        for change in changes {
            self.sent += 1;
            text.push_str(&format!("id: {}\nevent: state\ndata: {}\n\n", self.sent, submission_view::change(&change)));
        }
        self.last_sent_at = Instant::now();
        text
    }
}
