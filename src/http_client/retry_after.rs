//! `Retry-After`: the header's value comes in; how long the other side asks us to wait goes out (RFC 9110, section 10.2.3).

use http::HeaderValue;
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    Wait(Duration),
    /// A date that is over already: the other side asks for no wait any more.
    Past,
}

/// In its form of seconds, or as a date seen from `now`; `None` if it is neither.
pub fn retry_after(value: &HeaderValue, now: Timestamp) -> Option<RetryAfter> {
    let text = value.to_str().ok()?.trim();
    if let Ok(secs) = text.parse::<u64>() {
        return Some(RetryAfter::Wait(Duration::from_secs(secs)));
    }
    let date = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(date.duration_since(now)).map_or(RetryAfter::Past, RetryAfter::Wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let read = |text: &str| retry_after(&HeaderValue::from_str(text).unwrap(), now);
        let wait = |secs| Some(RetryAfter::Wait(Duration::from_secs(secs)));
        assert_eq!(read("120"), wait(120));
        assert_eq!(read("0"), wait(0));
        assert_eq!(read("Sat, 21 Nov 2026 10:01:30 GMT"), wait(90));
        assert_eq!(read("Sat, 21 Nov 2026 10:00:00 GMT"), wait(0));
        assert_eq!(read("Sat, 21 Nov 2026 09:00:00 GMT"), Some(RetryAfter::Past));
        for none in ["soon", "-1", ""] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
