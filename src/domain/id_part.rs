//! Part of a submission's id, as people say it to each other: text comes in, digits that an id may begin or end with go out.

use super::SubmissionId;
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// The beginning of an id, its end, or all of it. An id begins with its time (UUID version 7), so that ids of one moment
/// differ at their ends alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdPart {
    /// 4 to 32 of `0-9a-f`.
    digits: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no part of a submission's id: write its beginning or its end, at least {FEWEST_DIGITS} of its digits \
     (0-9 and a-f), with or without hyphens"
)]
pub struct InvalidIdPart(String);

/// Fewer would mean too many.
const FEWEST_DIGITS: usize = 4;
const ALL_DIGITS: usize = 32;
/// The digits before which the written form has a hyphen (RFC 9562, section 4).
const HYPHEN_BEFORE: [usize; 4] = [8, 12, 16, 20];

impl IdPart {
    /// `None`: other ids may have this part as well.
    pub fn whole(&self) -> Option<SubmissionId> {
        Uuid::try_parse(&self.digits).ok().map(SubmissionId::from)
    }

    /// The least and the greatest id that begin like this.
    pub fn beginning(&self) -> (SubmissionId, SubmissionId) {
        let filled = |with: char| {
            let digits = self.digits.chars().chain(std::iter::repeat(with)).take(ALL_DIGITS);
            let number = digits.fold(0, |number, digit| number << 4 | u128::from(digit.to_digit(16).unwrap_or(0)));
            SubmissionId::from(Uuid::from_u128(number))
        };
        (filled('0'), filled('f'))
    }

    /// What the written form of an id ends with that ends like this.
    pub fn end(&self) -> String {
        let missing = ALL_DIGITS - self.digits.len();
        let mut end = String::new();
        for (position, digit) in self.digits.chars().enumerate() {
            if position > 0 && HYPHEN_BEFORE.contains(&(missing + position)) {
                end.push('-');
            }
            end.push(digit);
        }
        end
    }
}

impl FromStr for IdPart {
    type Err = InvalidIdPart;

    fn from_str(text: &str) -> Result<Self, InvalidIdPart> {
        if let Ok(whole) = Uuid::try_parse(text) {
            return Ok(Self { digits: whole.simple().to_string() });
        }
        let digits: String = text.chars().filter(|it| *it != '-').map(|it| it.to_ascii_lowercase()).collect();
        let is_part = (FEWEST_DIGITS..=ALL_DIGITS).contains(&digits.len());
        match is_part && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            true => Ok(Self { digits }),
            false => Err(InvalidIdPart(text.to_owned())),
        }
    }
}

impl fmt::Display for IdPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> IdPart {
        text.parse().unwrap()
    }

    #[test]
    fn hyphens_and_capitals_make_no_difference() {
        let whole = "0199f2a4-7c11-7000-8000-00000000abcd";
        for text in
            [whole, "0199F2A47C11700080000000 0000ABCD".replace(' ', "").as_str(), "0199F2A4-7C1170008000-00000000ABCD"]
        {
            assert_eq!(part(text).whole().unwrap().to_string(), whole);
        }
        assert_eq!(part("0199F2A4-7C"), part("0199f2a47c"));
        assert_eq!(part("0199f2a47c").whole(), None);
    }

    #[test]
    fn an_id_begins_between_two_ids_and_ends_as_it_is_written() {
        let (first, last) = part("0199f2a47c").beginning();
        assert_eq!(first.to_string(), "0199f2a4-7c00-0000-0000-000000000000");
        assert_eq!(last.to_string(), "0199f2a4-7cff-ffff-ffff-ffffffffffff");
        let whole = "0199f2a4-7c11-7000-8000-00000000abcd";
        let digits = whole.replace('-', "");
        for length in 4..=32 {
            let end = part(&digits[32 - length..]).end();
            assert!(whole.ends_with(&end) && end.replace('-', "").len() == length, "{end}");
        }
    }

    #[test]
    fn what_is_too_short_too_long_or_of_other_signs_is_no_part() {
        for bad in ["", "abc", "ab-c", "----", "0199g2a4", "0199 f2a4", "01%9f2a4", "ăăăă", &"a".repeat(33)] {
            let refused = bad.parse::<IdPart>().unwrap_err().to_string();
            assert!(refused.contains("beginning or its end, at least 4"), "{refused}");
        }
    }
}
