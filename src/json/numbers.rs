//! A JSON text comes in; its numbers as they were written, whether a double holds them, and what they are worth, go out.

/// The number tokens of a JSON text in their order: the reader meets them in the same order.
pub(super) struct NumberTokens<'a>(pub &'a str);

impl<'a> Iterator for NumberTokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.0.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b'"' => at = end_of_string(bytes, at + 1),
                b'-' | b'0'..=b'9' => {
                    let is_part = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                    let length = bytes[at..].iter().take_while(|b| is_part(b)).count();
                    let token = &self.0[at..at + length];
                    self.0 = &self.0[at + length..];
                    return Some(token);
                }
                _ => at += 1,
            }
        }
        None
    }
}

fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

const MAX_CHARS: usize = 1000;
const MAX_EXPONENT: u32 = 9999;

/// Reading and writing integers costs the square of their length, and an exponent may stand for any number of digits.
pub(super) fn is_of_bearable_size(token: &str) -> bool {
    let exponent = token.split_once(['e', 'E']).map_or("0", |(_, exponent)| exponent);
    token.len() <= MAX_CHARS && exponent.trim_start_matches(['+', '-']).parse().is_ok_and(|it: u32| it <= MAX_EXPONENT)
}

/// Whether machine words hold the number as it is written: an integer, or a double that is the same decimal number.
pub fn is_exact(token: &str) -> bool {
    if token.parse::<i64>().is_ok() || token.parse::<u64>().is_ok() {
        return true;
    }
    if !token.contains(['.', 'e', 'E']) && token.parse::<i128>().is_err() {
        return false;
    }
    let Ok(value) = token.parse::<f64>() else { return false };
    value.is_finite() && decimal(token).is_some_and(|it| decimal(&format!("{value:e}")) == Some(it))
}

/// The same text for all ways to write one decimal number: `1.10` and `11e-1`.
pub fn canonical_number(number: &serde_json::Number) -> String {
    canonical(number.as_str()).unwrap_or_else(|| number.to_string())
}

/// The same of any text; `None`: it is no number.
pub fn canonical(token: &str) -> Option<String> {
    let (is_negative, digits, power) = decimal(token)?;
    Some(format!("{}{digits}e{power}", if is_negative { "-" } else { "" }))
}

/// Sign, significant digits and the power of ten of the last one.
fn decimal(token: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let dropped = i64::try_from(digits.len() - significant.len()).ok()?;
    let power = exponent - i64::try_from(fraction.len()).ok()? + dropped;
    let significant = significant.trim_start_matches('0').to_owned();
    match significant.is_empty() {
        true => Some((negative, significant, 0)),
        false => Some((negative, significant, power)),
    }
}
