//! A message of an agency as it arrived, whoever has opened the connection: `send` makes one of an answer.

use crate::http_client::Received;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
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
