//! Bytes come in; a JSON value in which nothing was silently changed goes out, or the one fault and its place.
//!
//! Refused: what is not UTF-8, what is nested too deeply, an object with the same key twice (RFC 8259 leaves its meaning
//! open), a number that a double cannot hold exactly, U+0000, which neither XML nor PostgreSQL can carry, and more values
//! than any request needs: each takes a hundred times the memory of its text.

use crate::domain::Code;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::{cell::RefCell, fmt};

const MAX_DEPTH: usize = 64;
const MAX_VALUES: usize = 20_000;
/// What one value takes in memory, its copies on the way to the journal included; measured on objects with one key.
pub const BYTES_PER_VALUE: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonFault {
    pub code: Code,
    /// JSON Pointer, or empty where only `problem` knows the place.
    pub pointer: String,
    pub problem: String,
}

/// A value, and how many values it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    pub value: Value,
    pub values: usize,
}

pub fn parse(bytes: &[u8]) -> Result<Counted, JsonFault> {
    let text = std::str::from_utf8(bytes).map_err(|error| JsonFault {
        code: Code::RequestNotUtf8,
        pointer: String::new(),
        problem: format!("byte {} is not UTF-8", error.valid_up_to()),
    })?;
    let reading = RefCell::new(Reading { place: Vec::new(), fault: None, numbers: Numbers(text), values: 0 });
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let outcome = Strict(&reading).deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    let reading = reading.into_inner();
    outcome.map(|value| Counted { value, values: reading.values }).map_err(|error| {
        reading.fault.unwrap_or_else(|| JsonFault {
            code: Code::RequestInvalidJson,
            pointer: String::new(),
            problem: error.to_string(),
        })
    })
}

/// Where the reader is, and the first fault that `serde_json` itself would have let pass.
struct Reading<'a> {
    place: Vec<String>,
    fault: Option<JsonFault>,
    numbers: Numbers<'a>,
    values: usize,
}

impl Reading<'_> {
    fn fail<E: Error>(&mut self, code: Code, problem: &str) -> E {
        let pointer =
            self.place.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect();
        self.fault.get_or_insert(JsonFault { code, pointer, problem: problem.to_owned() });
        E::custom("refused")
    }
}

#[derive(Clone, Copy)]
struct Strict<'r, 'a>(&'r RefCell<Reading<'a>>);

impl Strict<'_, '_> {
    fn fail<E: Error>(self, code: Code, problem: &str) -> E {
        self.0.borrow_mut().fail(code, problem)
    }

    fn text<E: Error>(self, text: &str) -> Result<String, E> {
        match text.contains('\0') {
            true => Err(self.fail(Code::RequestInvalidJson, "U+0000 cannot be carried")),
            false => Ok(text.to_owned()),
        }
    }

    fn number<E: Error>(self, number: Option<Number>) -> Result<Value, E> {
        let is_exact = self.0.borrow_mut().numbers.next().is_some_and(is_exact);
        number
            .filter(|_| is_exact)
            .map(Value::Number)
            .ok_or_else(|| self.fail(Code::RequestInvalidJson, "this number would lose digits: send it as a string"))
    }

    fn enter<E: Error>(self, step: String) -> Result<(), E> {
        if self.0.borrow().place.len() >= MAX_DEPTH {
            return Err(self.fail(Code::RequestTooDeep, "more than 64 levels"));
        }
        self.0.borrow_mut().place.push(step);
        Ok(())
    }

    fn leave(self) {
        self.0.borrow_mut().place.pop();
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_, '_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.borrow_mut().values += 1;
        if self.0.borrow().values > MAX_VALUES {
            return Err(self.fail(Code::RequestTooLarge, "more than 20000 values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.number(Some(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.number(Some(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.number(Number::from_f64(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.text(text).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            self.enter(list.len().to_string())?;
            let Some(item) = items.next_element_seed(self)? else { break };
            list.push(item);
            self.leave();
        }
        self.leave();
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.enter(self.text(&key)?)?;
            if object.contains_key(&key) {
                return Err(self.fail(Code::RequestDuplicateKey, "this key is there twice"));
            }
            object.insert(key, entries.next_value_seed(self)?);
            self.leave();
        }
        Ok(Value::Object(object))
    }
}

/// The number tokens of a JSON text in their order: the reader meets them in the same order.
struct Numbers<'a>(&'a str);

impl<'a> Iterator for Numbers<'a> {
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

/// Whether reading the token as `serde_json` does and writing it again gives the same decimal number.
fn is_exact(token: &str) -> bool {
    if token.parse::<i64>().is_ok() || token.parse::<u64>().is_ok() {
        return true;
    }
    let Ok(value) = token.parse::<f64>() else { return false };
    value.is_finite() && decimal(token).is_some_and(|it| decimal(&format!("{value:e}")) == Some(it))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn fault(text: &str) -> (Code, String) {
        let fault = parse(text.as_bytes()).unwrap_err();
        (fault.code, fault.pointer)
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_with_its_place() {
        assert_eq!(fault(r#"{"a":[{"b":1,"c/d":2,"c/d":3}]}"#), (Code::RequestDuplicateKey, "/a/0/c~1d".into()));
        assert_eq!(fault(r#"{"a":1,"\u0061":2}"#), (Code::RequestDuplicateKey, "/a".into()));
        assert_eq!(parse(br#"[{"a":1},{"a":1}]"#).unwrap().value, json!([{"a": 1}, {"a": 1}]));
    }

    #[test]
    fn sixty_four_levels_are_taken_and_no_more() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(nested(64).as_bytes()).is_ok());
        assert_eq!(fault(&nested(65)).0, Code::RequestTooDeep);
        assert_eq!(fault(&"[".repeat(1_000_000)).0, Code::RequestTooDeep);
        assert_eq!(fault(&r#"{"a":"#.repeat(100_000)).0, Code::RequestTooDeep);
    }

    #[test]
    fn more_values_than_any_request_needs_are_refused() {
        let objects = |count: usize| format!("[{}{{}}]", r#"{"":0},"#.repeat(count - 1));
        assert_eq!(parse(objects(9_000).as_bytes()).unwrap().values, 18_000);
        assert_eq!(fault(&objects(10_001)).0, Code::RequestTooLarge);
    }

    #[test]
    fn a_number_that_would_lose_digits_is_refused_with_its_place() {
        for lossy in ["0.1234567890123456789", "18446744073709551617", "1e400", "123456789012345678.5"] {
            assert_eq!(fault(&format!(r#"{{"s":"12.5\"","n":{lossy}}}"#)).0, Code::RequestInvalidJson, "{lossy}");
        }
        assert_eq!(fault(r#"{"ok":1,"n":[0.5,1.00000000000000000001]}"#).1, "/n/1");
        for exact in
            ["0", "-0", "1.10", "1e2", "-12.50e-3", "18446744073709551615", "100000000000000000000", "0.1", "0e0"]
        {
            assert!(parse(exact.as_bytes()).is_ok(), "{exact}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_or_holds_nul_is_refused() {
        assert_eq!(parse(b"{\"a\":\"\xff\"}").unwrap_err().code, Code::RequestNotUtf8);
        assert_eq!(fault(r#"{"a":"x\u0000"}"#), (Code::RequestInvalidJson, "/a".into()));
        assert_eq!(fault(r#"{"a":"\ud800"}"#).0, Code::RequestInvalidJson);
    }

    #[test]
    fn what_is_not_json_is_refused_without_being_quoted() {
        for bad in ["", "{", "canary", "{'a':1}", "[1,]", "1 2", "{\"a\":01}", "\u{feff}{}", "NaN", "// c\n1"] {
            let fault = parse(bad.as_bytes()).unwrap_err();
            assert_eq!(fault.code, Code::RequestInvalidJson, "{bad}");
            assert!(!fault.problem.contains("canary"), "{}", fault.problem);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_and_what_is_taken_is_what_serde_json_reads(text in "[\\[\\]{}\",:0-9a-e.\\\\ -]{0,60}") {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(value.value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
