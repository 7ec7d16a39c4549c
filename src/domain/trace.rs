//! W3C Trace Context: a `traceparent` comes in, the same trace with a span of ours goes out; a bad one starts anew.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Version 00 of the `traceparent` header (W3C Trace Context, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceParent {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
}

impl TraceParent {
    pub fn fresh() -> Self {
        let random = Uuid::new_v4().as_u128();
        Self { trace_id: random, span_id: fresh_span(), sampled: true }
    }

    /// Takes up the caller's trace. A header that breaks the standard is ignored, as section 3.2.2.3 asks.
    pub fn taken_up(header: Option<&str>) -> Self {
        match header.and_then(Self::parse) {
            Some(theirs) => theirs.child(),
            None => Self::fresh(),
        }
    }

    /// The same trace, seen from a new span.
    pub fn child(self) -> Self {
        Self { span_id: fresh_span(), ..self }
    }

    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = text.as_bytes();
        let is_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !text.is_ascii() || bytes.len() < 55 || bytes[2] != b'-' || bytes[35] != b'-' || bytes[52] != b'-' {
            return None;
        }
        let (version, trace, span, flags) = (&text[..2], &text[3..35], &text[36..52], &text[53..55]);
        if ![version, trace, span, flags].into_iter().all(is_hex) || version == "ff" {
            return None;
        }
        // Later versions may append fields after another dash; version 00 has exactly four.
        let has_valid_end = if version == "00" { bytes.len() == 55 } else { bytes.len() == 55 || bytes[55] == b'-' };
        let trace_id = u128::from_str_radix(trace, 16).ok()?;
        let span_id = u64::from_str_radix(span, 16).ok()?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (has_valid_end && trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }
}

fn fresh_span() -> u64 {
    (Uuid::new_v4().as_u128() >> 64) as u64 | 1
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

impl From<TraceParent> for String {
    fn from(trace: TraceParent) -> String {
        trace.to_string()
    }
}

impl TryFrom<String> for TraceParent {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a W3C traceparent")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_callers_trace_is_taken_up_with_a_span_of_our_own() {
        let ours = TraceParent::taken_up(Some(THEIRS));
        assert_eq!(ours.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(ours.to_string(), THEIRS);
        assert_eq!(TraceParent::parse(&ours.to_string()), Some(ours));
    }

    #[test]
    fn a_bad_header_starts_a_new_trace() {
        let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let upper = "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01";
        let long = format!("{THEIRS}-x");
        for bad in ["", "nonsense", "é", zero, upper, &long, &"0".repeat(55), &"é".repeat(40)] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
            assert_eq!(TraceParent::taken_up(Some(bad)).to_string().len(), 55);
        }
    }

    #[test]
    fn a_later_version_may_carry_more_fields() {
        assert!(TraceParent::parse(&format!("cc{}-more", &THEIRS[2..])).is_some());
    }
}
