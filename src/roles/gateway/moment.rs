//! A date and time of RFC 3339 as an office writes it comes in; a moment goes out. One that is later than our calendar's end,
//! such as the last second of the year 9999 for "never", is that end.

use jiff::{Timestamp, fmt::temporal::Pieces};
use serde::{Deserialize, Deserializer, de::Error};

pub const NONE: &str = "is no date and time that exists (RFC 3339)";

pub fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| beyond(text))
}

/// What can be read and is out of our range.
fn beyond(text: &str) -> Option<Timestamp> {
    let pieces = Pieces::parse(text).ok()?;
    let is_whole = pieces.time().is_some() && pieces.to_numeric_offset().is_some();
    match pieces.date().year() {
        9999 if is_whole => Some(Timestamp::MAX),
        -9999 if is_whole => Some(Timestamp::MIN),
        _ => None,
    }
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| moment(&text).ok_or_else(|| D::Error::custom(NONE))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_calendar_is_a_moment_and_what_does_not_exist_is_none() {
        assert_eq!(moment("2026-11-21T10:00:00Z"), "2026-11-21T10:00:00Z".parse().ok());
        for late in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999Z", "9999-12-31T00:00:00-23:59"] {
            assert_eq!(moment(late), Some(Timestamp::MAX), "{late}");
        }
        for none in
            ["", "yesterday", "2026-02-30T00:00:00Z", "9999-12-31", "9999-12-31T23:59:59", "10000-01-01T00:00:00Z"]
        {
            assert_eq!(moment(none), None, "{none}");
        }
    }
}
