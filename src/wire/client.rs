//! The mutual-TLS HTTP client of one agency: a whole request comes in, a whole answer of bounded size goes out.

use super::tls_failure::{TlsFailure, sources, tls_failure};
use crate::crash::{self, Point};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Method, header};
use std::{error::Error, time::Duration};

pub struct ClientSettings {
    /// Roots, identity and protocol versions, as the trust room made them.
    pub tls: rustls::ClientConfig,
    pub connect_timeout: Duration,
    pub answer_max_bytes: usize,
    /// Connections kept open while nothing is to send.
    pub idle_connections: usize,
}

/// A client that follows no redirect, uses no proxy, speaks only https, and reads no more than it may.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    answer_max_bytes: usize,
}

/// A request as it leaves.
#[derive(Clone)]
pub struct Outgoing {
    pub method: Method,
    pub url: reqwest::Url,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An answer as it arrived: nothing in it has been believed yet.
#[derive(Clone)]
pub struct Received {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no whole answer. Only the first two say that the agency has certainly not got the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no secure connection: {text}")]
    Tls { text: String, is_peer_certificate: bool },
    #[error("no whole answer in time")]
    Timeout,
    #[error("the connection broke: {0}")]
    Reset(String),
    #[error("the answer is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
}

/// An idle connection may be closed by the agency at the moment at which we use it, and then nobody knows whether it has
/// read the request. Few servers close one that has been idle for less than this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

impl Client {
    pub fn new(settings: ClientSettings) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(settings.tls)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(settings.connect_timeout)
            .pool_max_idle_per_host(settings.idle_connections)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| chain(&error))?;
        Ok(Self { http, answer_max_bytes: settings.answer_max_bytes })
    }

    /// Sends and receives within `timeout`, connecting included.
    pub async fn exchange(&self, outgoing: Outgoing, timeout: Duration) -> Result<Received, SendFailure> {
        let request = self
            .http
            .request(outgoing.method, outgoing.url)
            .headers(outgoing.headers)
            .body(outgoing.body)
            .timeout(timeout);
        let response = request.send().await.map_err(|error| classify(&error))?;
        crash::here(Point::WorkerSent);
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = self.bounded_body(response).await?;
        Ok(Received { status, headers, body })
    }

    async fn bounded_body(&self, response: reqwest::Response) -> Result<Bytes, SendFailure> {
        let limit_bytes = self.answer_max_bytes;
        if response.content_length().is_some_and(|length| length > limit_bytes as u64) {
            return Err(SendFailure::TooLarge { limit_bytes });
        }
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| classify(&error))?;
            if body.len() + chunk.len() > limit_bytes {
                return Err(SendFailure::TooLarge { limit_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}

impl Received {
    /// The media type without its parameters, in lower case.
    pub fn media_type(&self) -> Option<String> {
        let value = self.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// Of all names and values.
    pub fn headers_bytes(&self) -> usize {
        self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
    }

    /// `Retry-After` in its form of seconds, or as a date seen from `now` (RFC 9110, section 10.2.3).
    pub fn retry_after(&self, now: jiff::Timestamp) -> Option<Duration> {
        retry_after(self.headers.get(header::RETRY_AFTER)?, now)
    }
}

/// Reads the value of a `Retry-After` header.
pub fn retry_after(value: &HeaderValue, now: jiff::Timestamp) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(secs) = text.parse::<u64>() {
        return Some(Duration::from_secs(secs));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

fn classify(error: &reqwest::Error) -> SendFailure {
    match tls_failure(error) {
        Some(TlsFailure::PeerCertificate(text)) => return SendFailure::Tls { text, is_peer_certificate: true },
        Some(TlsFailure::Handshake(text)) => return SendFailure::Tls { text, is_peer_certificate: false },
        Some(TlsFailure::Later(_)) | None => {}
    }
    if error.is_connect() {
        return SendFailure::Connect(chain(error));
    }
    if error.is_timeout() {
        return SendFailure::Timeout;
    }
    SendFailure::Reset(chain(error))
}

/// The innermost reason, without the URL.
fn chain(error: &(dyn Error + 'static)) -> String {
    sources(error).last().map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now: jiff::Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let read = |text: &str| retry_after(&HeaderValue::from_str(text).unwrap(), now).map(|wait| wait.as_secs());
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("Sat, 21 Nov 2026 10:01:30 GMT"), Some(90));
        assert_eq!(read("Sat, 21 Nov 2026 09:00:00 GMT"), Some(0));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-1"), None);
    }
}
