//! A message of an agency as it arrived, whoever has opened the connection: `send` makes one of an answer.

use crate::http_client::{Received, RetryAfter, retry_after};
use bytes::Bytes;
use http::{HeaderMap, header};
use std::time::Duration;

/// Nothing in it has been authenticated yet.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl From<Received> for Incoming {
    fn from(Received { status, headers, body }: Received) -> Self {
        Self { status, headers, body }
    }
}

impl Incoming {
    /// The media type without its parameters, in lower case.
    pub fn media_type(&self) -> Option<String> {
        let value = self.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// Whether it is a page as proxies and balancers show it, and nothing that a program reads. Some call it something else, or
    /// nothing.
    pub fn is_html_page(&self) -> bool {
        let is_called_one = matches!(self.media_type().as_deref(), Some("text/html" | "application/xhtml+xml"));
        let body = self.body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.body).trim_ascii_start();
        let begins_with = |tag: &str| body.get(..tag.len()).is_some_and(|it| it.eq_ignore_ascii_case(tag.as_bytes()));
        is_called_one || begins_with("<!doctype html") || begins_with("<html")
    }

    /// Of all names and values.
    pub fn headers_bytes(&self) -> usize {
        self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
    }

    /// How long its `Retry-After` asks us to wait; a date that is over asks for no wait.
    pub fn retry_after(&self, now: jiff::Timestamp) -> Option<Duration> {
        Some(match retry_after(self.headers.get(header::RETRY_AFTER)?, now)? {
            RetryAfter::Wait(wait) => wait,
            RetryAfter::Past => Duration::ZERO,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_date_to_retry_after_that_is_over_asks_for_no_wait() {
        let now: jiff::Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let wait = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
            let incoming = Incoming { status: 503, headers, body: Bytes::new() };
            incoming.retry_after(now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("Sat, 21 Nov 2026 10:01:30 GMT"), Some(90));
        assert_eq!(wait("Sat, 21 Nov 2026 09:00:00 GMT"), Some(0));
        assert_eq!(wait("soon"), None);
    }
}
