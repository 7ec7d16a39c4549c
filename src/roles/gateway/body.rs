//! A request's body comes in as a stream; its chunks go out within a deadline, a size and a least speed.

use super::{
    Problem,
    limits::{Limits, Memory, OfficeLimits},
};
use crate::domain::Code;
use bytes::{Bytes, BytesMut};
use http::Version;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::time::Duration;
use tokio::time::Instant;

/// In each window at least this much must arrive, or all of the rest.
const LEAST_BYTES: u64 = 1024;

/// How long a body may take in all, and how often it must have come further.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub timeout: Duration,
    pub window: Duration,
}

/// A whole body in memory, with the permit for it.
pub struct HeldBody {
    pub bytes: Bytes,
    _memory: Option<Memory>,
}

/// A request's body, read or not. What is not read of one in HTTP/2 is taken and thrown away for a while: a stream that is
/// reset at once takes the answer with it for many clients, curl 7.88 among them (RFC 9113, section 8.1).
pub struct RequestBody {
    body: Option<Incoming>,
    is_http2: bool,
}

/// So much is thrown away, and for so long: an office's client is to hear why, and no flood is to cost more.
const DISCARD_BYTES: u64 = 32 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(10);

impl RequestBody {
    pub fn new(body: Incoming, version: Version) -> Self {
        Self { body: Some(body), is_http2: version == Version::HTTP_2 }
    }

    fn says_at_least(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.size_hint().lower())
    }

    async fn frame(&mut self) -> Option<Result<hyper::body::Frame<Bytes>, hyper::Error>> {
        self.body.as_mut()?.frame().await
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| self.is_http2 && !body.is_end_stream()) else { return };
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

/// A body that is being read.
pub struct BodyReader {
    body: RequestBody,
    max_bytes: u64,
    too_large: Code,
    deadline: Instant,
    window: Duration,
    window_end: Instant,
    in_window: u64,
    received: u64,
}

impl BodyReader {
    /// Refuses at once what says by itself that it is too large.
    pub fn new(body: RequestBody, max_bytes: u64, too_large: Code, pace: Pace) -> Result<Self, Problem> {
        if body.says_at_least() > max_bytes {
            return Err(too_large.into());
        }
        let (now, Pace { timeout, window }) = (Instant::now(), pace);
        Ok(Self {
            body,
            max_bytes,
            too_large,
            deadline: now + timeout,
            window,
            window_end: now + window,
            in_window: 0,
            received: 0,
        })
    }

    /// The next chunk; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let until = self.window_end.min(self.deadline);
            let Ok(frame) = tokio::time::timeout_at(until, self.body.frame()).await else {
                self.next_window()?;
                continue;
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| broken(&error))?;
            let Ok(chunk) = frame.into_data() else { continue };
            self.received += chunk.len() as u64;
            self.in_window += chunk.len() as u64;
            if self.received > self.max_bytes {
                return Err(self.too_large.into());
            }
            return Ok(Some(chunk));
        }
    }

    fn next_window(&mut self) -> Result<(), Problem> {
        if Instant::now() >= self.deadline || self.in_window < LEAST_BYTES {
            return Err(Code::RequestTimeout.into());
        }
        self.window_end = Instant::now() + self.window;
        self.in_window = 0;
        Ok(())
    }

    /// All of it, as far as the gateway's memory allows.
    pub async fn hold(mut self, limits: &Limits, office: &OfficeLimits) -> Result<HeldBody, Problem> {
        let mut bytes = BytesMut::new();
        let mut memory: Option<Memory> = None;
        while let Some(chunk) = self.next().await? {
            let more = limits.memory(office, chunk.len())?;
            match &mut memory {
                Some(held) => held.merge(more),
                None => memory = Some(more),
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(HeldBody { bytes: bytes.freeze(), _memory: memory })
    }
}

/// A body that breaks off has nobody left to answer, and its code is for the log; one in broken chunks has.
fn broken(error: &hyper::Error) -> Problem {
    match error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        true => Code::RequestTimeout.into(),
        false => Problem::at(Code::RequestFraming, "", "the body's chunks are broken (RFC 9112, section 7.1)"),
    }
}
