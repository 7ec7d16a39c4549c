//! A request's body as the connection brings it, which is not broken off at once if nobody reads it to its end.

use super::{BodyDeadlines, BodyReader, HttpVersion};
use crate::domain::Code;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

/// What is not read of a body is taken and thrown away for a while when this is dropped. In HTTP/2 a stream that is reset at
/// once takes the answer with it for many clients, curl 7.88 among them (RFC 9113, section 8.1); in HTTP/1.1 the connection
/// would end with it, without a word in the answer, and take the client's next request along (RFC 9112, section 9.6).
pub(super) struct RequestBody {
    /// `None` only after the drop.
    body: Option<Incoming>,
    arrival: Arc<Arrival>,
}

/// How a body of HTTP/1.1 comes in, for whoever sends the answer.
pub(super) struct Arrival {
    /// Whether the client waits for our `100 Continue` before it sends the body (`Expect: 100-continue`). Reading the body
    /// sends it.
    awaits_continue: AtomicBool,
    /// Whether it is longer than what is thrown away of one.
    is_long: bool,
}

impl Arrival {
    fn awaits_continue(&self) -> bool {
        self.awaits_continue.load(Ordering::Relaxed)
    }

    /// Whether the answer has to say that the connection ends with it: nobody knows whether a body comes that waits for our
    /// word (RFC 9110, section 10.1.1), and one that is too slow or too long for us is broken off.
    pub fn ends_connection(&self, answer: StatusCode) -> bool {
        self.awaits_continue() || answer == StatusCode::REQUEST_TIMEOUT || (self.is_long && !answer.is_success())
    }
}

/// So much is thrown away, for so long, and at this pace at least: a client is to hear why it was refused, and no flood or
/// drip is to cost more.
const DISCARD_BYTES: u64 = 32 << 20;
const DISCARD_DEADLINES: BodyDeadlines =
    BodyDeadlines { timeout: Duration::from_secs(10), window: Duration::from_secs(1) };

impl RequestBody {
    pub fn new(request: &HeaderMap, version: HttpVersion, body: Incoming) -> Self {
        let awaits_continue =
            version == HttpVersion::Http1 && request.contains_key(header::EXPECT) && !body.is_end_stream();
        let is_long = body.size_hint().lower() > DISCARD_BYTES;
        let arrival = Arc::new(Arrival { awaits_continue: awaits_continue.into(), is_long });
        Self { body: Some(body), arrival }
    }

    pub fn arrival(&self) -> Arc<Arrival> {
        self.arrival.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.arrival.awaits_continue.store(false, Ordering::Relaxed);
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !body.is_end_stream());
        let Some(body) = unread.filter(|_| !self.arrival.awaits_continue()) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(discard(body));
        }
    }
}

async fn discard(body: Incoming) {
    // What it says of its length must not end it at once: the limit is on what comes.
    let body = axum::body::Body::new(body);
    let Ok(mut reader) = BodyReader::new(body, u64::MAX, Code::RequestTooLarge, DISCARD_DEADLINES) else { return };
    let mut left = DISCARD_BYTES;
    while let Ok(Some(chunk)) = reader.next().await {
        let Some(rest) = left.checked_sub(chunk.len() as u64) else { return };
        left = rest;
    }
}
