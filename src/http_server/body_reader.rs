//! A request's body comes in as a stream; its chunks go out within a deadline, a size and a least speed.

use super::{
    memory::{MemoryLimits, MemoryPermit},
    problem::Problem,
};
use crate::domain::Code;
use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use std::{error::Error, time::Duration};
use tokio::time::Instant;

/// In each window at least this much must arrive, or all of the rest.
const LEAST_BYTES: u64 = 1024;

/// How long a body may take in all, and how often it must have come further.
#[derive(Debug, Clone, Copy)]
pub struct BodyDeadlines {
    pub timeout: Duration,
    pub window: Duration,
}

/// A whole body in memory. Its handler holds it for as long as it works with the bytes.
pub struct HeldBody {
    pub bytes: Bytes,
    /// Comes back with the bytes.
    _memory: Option<MemoryPermit>,
}

/// A body that is being read.
pub struct BodyReader {
    body: Body,
    max_bytes: u64,
    /// How a larger one is refused.
    too_large: Code,
    /// When all of it must be here.
    deadline: Instant,
    window: Duration,
    window_end: Instant,
    /// Bytes that came within the present window.
    in_window: u64,
    received: u64,
}

impl BodyReader {
    /// Refuses at once what says by itself that it is too large.
    pub fn new(body: Body, max_bytes: u64, too_large: Code, deadlines: BodyDeadlines) -> Result<Self, Problem> {
        if body.size_hint().lower() > max_bytes {
            return Err(too_large.into());
        }
        let (now, BodyDeadlines { timeout, window }) = (Instant::now(), deadlines);
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

    /// All of it, as far as the memory for bodies allows.
    pub async fn hold(mut self, limits: MemoryLimits<'_>) -> Result<HeldBody, Problem> {
        let mut bytes = BytesMut::new();
        let mut memory: Option<MemoryPermit> = None;
        while let Some(chunk) = self.next().await? {
            let more = limits.take(chunk.len())?;
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
fn broken(error: &axum::Error) -> Problem {
    let error = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    match error.is_none_or(|error| error.is_incomplete_message() || error.is_canceled() || error.is_closed()) {
        true => Code::RequestTimeout.into(),
        false => Problem::at(Code::RequestFraming, "", "the body's chunks are broken (RFC 9112, section 7.1)"),
    }
}
