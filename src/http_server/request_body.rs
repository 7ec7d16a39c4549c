//! A request's body as the connection brings it, which is not broken off at once if nobody reads it to its end.

use super::HttpVersion;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// What is not read of a body in HTTP/2 is taken and thrown away for a while when this is dropped: a stream that is reset at
/// once takes the answer with it for many clients, curl 7.88 among them (RFC 9113, section 8.1).
pub(super) struct RequestBody {
    /// `None` only after the drop.
    body: Option<Incoming>,
    version: HttpVersion,
}

/// So much is thrown away, and for so long: a client is to hear why it was refused, and no flood is to cost more.
const DISCARD_BYTES: u64 = 32 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(10);

impl RequestBody {
    pub fn new(body: Incoming, version: HttpVersion) -> Self {
        Self { body: Some(body), version }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
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
        let is_http2 = self.version == HttpVersion::Http2;
        let Some(body) = self.body.take().filter(|body| is_http2 && !body.is_end_stream()) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { drop(tokio::time::timeout(DISCARD_TIME, discard(body)).await) });
        }
    }
}

async fn discard(mut body: Incoming) {
    let mut left = DISCARD_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let size_bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        if size_bytes > left {
            return;
        }
        left -= size_bytes;
    }
}
