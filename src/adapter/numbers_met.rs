//! Numbers met: the numbers that a filter works with come in; whether what it makes of them can be trusted goes out.
//!
//! jq calculates with doubles as soon as one of two numbers is no integer, and compares by them, too: two numbers that differ in
//! the seventeenth digit may be equal to it.

use crate::json;
use serde_json::Value;
use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
};

#[derive(Debug, Clone, Default)]
pub struct NumbersMet {
    /// Calculating with one of them would round it.
    pub has_long_decimal: bool,
    /// jq cannot tell two of them apart.
    pub has_lookalikes: bool,
    /// Each in one spelling, by the double that jq compares in its place.
    by_double: HashMap<u64, String>,
}

/// Of more it is not known whether they can be told apart.
const MOST: usize = 10_000;

/// What compares numbers, or looks for one. Whatever else has such a name is taken for it.
const COMPARING: [&str; 18] = [
    "<", ">", "==", "!=", "-", "sort", "unique", "group", "min", "max", "index", "indices", "inside", "contains", "IN",
    "range", "limit", "bsearch",
];

thread_local! {
    static MADE: RefCell<NumbersMet> = RefCell::default();
}

/// Also the numbers that are made of texts meanwhile.
pub fn made_while<T>(run: impl FnOnce() -> T) -> (T, NumbersMet) {
    MADE.take();
    let given = run();
    (given, MADE.take())
}

/// Whoever makes a value of a text says so.
pub fn is_made(value: &Value) {
    MADE.with_borrow_mut(|made| made.add_all(value));
}

/// So far.
pub fn has_made_long_decimal() -> bool {
    MADE.with_borrow(|made| made.has_long_decimal)
}

pub fn compares(source: &str) -> bool {
    COMPARING.iter().any(|word| source.contains(word))
}

impl NumbersMet {
    /// A filter's literals, and what looks like them.
    pub fn in_source(source: &str) -> Self {
        let mut met = Self::default();
        let belongs = |it: char| it.is_ascii_alphanumeric() || it == '.';
        for word in source.split(|it| !belongs(it)).filter(|word| word.starts_with(|it: char| it.is_ascii_digit())) {
            met.add(word);
            met.add(&format!("-{word}"));
        }
        met
    }

    pub fn add_all(&mut self, value: &Value) {
        match value {
            Value::Number(number) => self.add(number.as_str()),
            Value::Array(items) => items.iter().for_each(|item| self.add_all(item)),
            Value::Object(members) => members.values().for_each(|member| self.add_all(member)),
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }

    pub fn join(&mut self, others: Self) {
        self.has_long_decimal |= others.has_long_decimal;
        self.has_lookalikes |= others.has_lookalikes;
        others.by_double.into_iter().for_each(|(double, spelling)| self.keep(double, spelling));
    }

    fn add(&mut self, written: &str) {
        let (Ok(double), Some(spelling)) = (written.parse::<f64>(), json::canonical(written)) else { return };
        self.has_long_decimal |= is_long_decimal(written);
        // There is one zero.
        let spelling = if spelling == "-e0" { "e0".to_owned() } else { spelling };
        self.keep((double + 0.0).to_bits(), spelling);
    }

    fn keep(&mut self, double: u64, spelling: String) {
        let is_full = self.by_double.len() >= MOST;
        match self.by_double.entry(double) {
            Entry::Occupied(known) => self.has_lookalikes |= *known.get() != spelling,
            Entry::Vacant(_) if is_full => self.has_lookalikes = true,
            Entry::Vacant(free) => _ = free.insert(spelling),
        }
    }
}

/// Whether a decimal number is among the values that calculating would round: jq calculates with doubles as soon as one of
/// two numbers is no integer.
pub fn has_long_decimal(value: &Value) -> bool {
    match value {
        Value::Number(number) => is_long_decimal(number.as_str()),
        Value::Array(items) => items.iter().any(has_long_decimal),
        Value::Object(members) => members.values().any(has_long_decimal),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

pub fn is_long_decimal(written: &str) -> bool {
    // A double holds whatever has up to 15 digits.
    let is_long = written.len() > 15 && written.contains('.') || written.contains(['e', 'E']);
    is_long && !json::is_exact(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_long_if_a_double_does_not_hold_it() {
        for (text, is_long) in [
            ("0.12345678901234567891", true),
            ("1e400", true),
            ("1.10", false),
            ("[{\"a\":123456789012345.10}]", false),
        ] {
            assert_eq!(has_long_decimal(&serde_json::from_str(text).unwrap()), is_long, "{text}");
        }
    }

    #[test]
    fn numbers_that_jq_cannot_tell_apart_are_found() {
        for (numbers, has_lookalikes) in [
            ("[0.12345678901234567891, 0.12345678901234567892]", true),
            ("[0.1, 0.10000000000000000001]", true),
            ("[12345678901234567890123, 12345678901234567890123.5]", true),
            ("[1e400, 1e401]", true),
            ("[0, 1e-400]", true),
            ("[0.1, 0.10, 1e-1, 0.2]", false),
            ("[0, -0, 0.0, -0.00]", false),
            ("[1, -1, {\"a\": 1.0}]", false),
        ] {
            let mut met = NumbersMet::default();
            met.add_all(&serde_json::from_str(numbers).unwrap());
            assert_eq!(met.has_lookalikes, has_lookalikes, "{numbers}");
            let mut joined = NumbersMet::in_source("select(. > 0.10000000000000000002)");
            joined.join(met);
            assert_eq!(joined.has_lookalikes, has_lookalikes || numbers.starts_with("[0.1,"), "{numbers}");
        }
    }
}
