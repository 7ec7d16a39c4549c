//! Bytes from a stranger come in; a JSON value in which nothing was silently changed goes out, or the one fault and its
//! place. A fault never quotes the text.
//!
//! Refused: what is not UTF-8, what is nested too deeply, an object with the same key twice (RFC 8259 leaves its meaning
//! open), U+0000, which neither XML nor PostgreSQL can carry, more values than anybody needs, each of which takes a hundred
//! times the memory of its text, numbers of absurd length, and, if asked for, a number that a double cannot hold. All other
//! numbers keep the digits with which they are written.

mod numbers;
mod size;

use numbers::{NumberTokens, is_of_bearable_size};
pub use numbers::{canonical, canonical_number, is_exact};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
pub use size::is_small;
use std::{cell::RefCell, fmt};

/// What one value takes in memory, its copies on the way to the journal included; measured on objects with one key.
pub const BYTES_PER_VALUE: usize = 1024;

/// How strict the reader is. Every depth is below the 128 levels that `serde_json` can read back, so that whatever is
/// taken can also be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    max_depth: usize,
    max_values: usize,
    /// Whether a number that a double cannot hold exactly is refused: most readers would round it (RFC 8259, section 6).
    exact_numbers: bool,
}

impl Rules {
    /// Offices write for us: they can send such a number as a string.
    pub const OFFICE: Self = Self { max_depth: 64, max_values: 20_000, exact_numbers: true };
    /// Agencies write as they always have.
    pub const AGENCY: Self = Self { max_depth: 126, max_values: 200_000, exact_numbers: false };
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", if pointer.is_empty() { String::new() } else { format!("{pointer}: ") })]
pub struct JsonFault {
    pub kind: JsonFaultKind,
    /// JSON Pointer, or empty where only `problem` knows the place.
    pub pointer: String,
    pub problem: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonFaultKind {
    NotUtf8,
    Invalid,
    TooDeep,
    TooMany,
    DuplicateKey,
}

/// A value, and how many values it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    pub value: Value,
    pub values: usize,
}

pub fn parse(bytes: &[u8], rules: Rules) -> Result<Value, JsonFault> {
    parse_counted(bytes, rules).map(|counted| counted.value)
}

pub fn parse_counted(bytes: &[u8], rules: Rules) -> Result<Counted, JsonFault> {
    let text = std::str::from_utf8(bytes).map_err(|error| JsonFault {
        kind: JsonFaultKind::NotUtf8,
        pointer: String::new(),
        problem: format!("byte {} is not UTF-8", error.valid_up_to()),
    })?;
    let reading =
        RefCell::new(Reading { place: Vec::new(), fault: None, rules, tokens: NumberTokens(text), values: 0 });
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let outcome = Strict(&reading).deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    let reading = reading.into_inner();
    outcome.map(|value| Counted { value, values: reading.values }).map_err(|error| {
        reading.fault.unwrap_or_else(|| JsonFault {
            kind: JsonFaultKind::Invalid,
            pointer: String::new(),
            problem: error.to_string(),
        })
    })
}

/// The name under which `serde_json` hands over a number that is no machine's integer.
const NUMBER: &str = "$serde_json::private::Number";

/// Whether `serde_json` would take an object with this name for something else than an object.
pub fn is_reserved(key: &str) -> bool {
    key.starts_with("$serde_json::private::")
}

/// Where the reader is, and the first fault that `serde_json` itself would have let pass.
struct Reading<'a> {
    place: Vec<String>,
    fault: Option<JsonFault>,
    rules: Rules,
    /// The numbers that are still to come, as they are written.
    tokens: NumberTokens<'a>,
    values: usize,
}

impl Reading<'_> {
    fn fail<E: Error>(&mut self, kind: JsonFaultKind, problem: &str) -> E {
        let pointer =
            self.place.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect();
        self.fault.get_or_insert(JsonFault { kind, pointer, problem: problem.to_owned() });
        E::custom("refused")
    }
}

#[derive(Clone, Copy)]
struct Strict<'r, 'a>(&'r RefCell<Reading<'a>>);

impl Strict<'_, '_> {
    fn fail<E: Error>(self, kind: JsonFaultKind, problem: &str) -> E {
        self.0.borrow_mut().fail(kind, problem)
    }

    fn text<E: Error>(self, text: &str) -> Result<String, E> {
        match text.contains('\0') {
            true => Err(self.fail(JsonFaultKind::Invalid, "U+0000 cannot be carried")),
            false => Ok(text.to_owned()),
        }
    }

    /// Each number is held against the next one of the text. So an object that only looks like the form in which
    /// `serde_json` hands over a number finds none that is left for it.
    fn number<E: Error>(self, number: Option<Number>) -> Result<Value, E> {
        let (token, rules) = {
            let mut reading = self.0.borrow_mut();
            (reading.tokens.next().unwrap_or_default(), reading.rules)
        };
        let invalid = |problem: &str| self.fail(JsonFaultKind::Invalid, problem);
        match number.filter(|number| token.parse::<Number>().is_ok_and(|written| written == *number)) {
            None => Err(invalid("a name is reserved, or a number cannot be read")),
            Some(_) if !is_of_bearable_size(token) => Err(invalid("a number is longer than anybody needs")),
            Some(_) if rules.exact_numbers && !is_exact(token) => {
                Err(invalid("this number would lose digits: send it as a string"))
            }
            Some(number) => Ok(Value::Number(number)),
        }
    }

    fn enter<E: Error>(self, step: String) -> Result<(), E> {
        let max_depth = self.0.borrow().rules.max_depth;
        if self.0.borrow().place.len() >= max_depth {
            return Err(self.fail(JsonFaultKind::TooDeep, &format!("more than {max_depth} levels")));
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
        let max_values = self.0.borrow().rules.max_values;
        if self.0.borrow().values > max_values {
            return Err(self.fail(JsonFaultKind::TooMany, &format!("more than {max_values} values")));
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
            if object.is_empty() && key == NUMBER {
                return self.number(entries.next_value::<String>()?.parse().ok());
            }
            if is_reserved(&key) {
                return Err(self.fail(JsonFaultKind::Invalid, "a name is reserved"));
            }
            self.enter(self.text(&key)?)?;
            if object.contains_key(&key) {
                return Err(self.fail(JsonFaultKind::DuplicateKey, "this key is there twice"));
            }
            object.insert(key, entries.next_value_seed(self)?);
            self.leave();
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(bytes: &[u8]) -> Result<Value, JsonFault> {
        super::parse(bytes, Rules::OFFICE)
    }

    fn fault(text: &str) -> (JsonFaultKind, String) {
        let fault = parse(text.as_bytes()).unwrap_err();
        (fault.kind, fault.pointer)
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_with_its_place() {
        assert_eq!(fault(r#"{"a":[{"b":1,"c/d":2,"c/d":3}]}"#), (JsonFaultKind::DuplicateKey, "/a/0/c~1d".into()));
        assert_eq!(fault(r#"{"a":1,"\u0061":2}"#), (JsonFaultKind::DuplicateKey, "/a".into()));
        assert_eq!(parse(br#"[{"a":1},{"a":1}]"#).unwrap(), json!([{"a": 1}, {"a": 1}]));
    }

    #[test]
    fn sixty_four_levels_are_taken_and_no_more() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(nested(64).as_bytes()).is_ok());
        assert_eq!(fault(&nested(65)).0, JsonFaultKind::TooDeep);
        assert_eq!(fault(&"[".repeat(1_000_000)).0, JsonFaultKind::TooDeep);
        assert_eq!(fault(&r#"{"a":"#.repeat(100_000)).0, JsonFaultKind::TooDeep);
    }

    #[test]
    fn more_values_than_any_request_needs_are_refused() {
        let objects = |count: usize| format!("[{}{{}}]", r#"{"":0},"#.repeat(count - 1));
        assert_eq!(parse_counted(objects(9_000).as_bytes(), Rules::OFFICE).unwrap().values, 18_000);
        assert_eq!(fault(&objects(10_001)).0, JsonFaultKind::TooMany);
    }

    #[test]
    fn a_number_that_would_lose_digits_is_refused_with_its_place() {
        for lossy in [
            "0.1234567890123456789",
            "18446744073709551617",
            "1e400",
            "123456789012345678.5",
            "1361129467683753853853498429727072845824",
        ] {
            assert_eq!(fault(&format!(r#"{{"s":"12.5\"","n":{lossy}}}"#)).0, JsonFaultKind::Invalid, "{lossy}");
        }
        assert_eq!(fault(r#"{"ok":1,"n":[0.5,1.00000000000000000001]}"#).1, "/n/1");
        for exact in
            ["0", "-0", "1.10", "1e2", "-12.50e-3", "18446744073709551615", "100000000000000000000", "0.1", "0e0"]
        {
            assert!(parse(exact.as_bytes()).is_ok(), "{exact}");
        }
    }

    #[test]
    fn every_number_of_an_agency_keeps_its_digits() {
        for (written, kept) in [
            ("12345678901234567890123", "12345678901234567890123"),
            ("-98765432109876543210", "-98765432109876543210"),
            ("0.1234567890123456789", "0.1234567890123456789"),
            ("1.10", "1.10"),
            ("100.00", "100.00"),
            ("-0", "-0"),
            ("-0.0", "-0.0"),
            ("18446744073709551615", "18446744073709551615"),
            ("1e400", "1e+400"),
            ("1E400", "1e+400"),
            ("12.50e-3", "12.50e-3"),
        ] {
            let value = super::parse(format!("{{\"n\":[{written}]}}").as_bytes(), Rules::AGENCY).unwrap();
            assert_eq!(value.to_string(), format!("{{\"n\":[{kept}]}}"), "{written}");
            assert_eq!(serde_json::from_str::<Value>(&value.to_string()).unwrap(), value, "{written}");
        }
    }

    #[test]
    fn numbers_of_absurd_length_are_refused_by_name() {
        let parsed = |text: &str| super::parse(text.as_bytes(), Rules::AGENCY);
        for absurd in ["9".repeat(1001), format!("0.{}", "1".repeat(1000)), "1e10000".into(), "1e-99999999999".into()] {
            assert!(parsed(&absurd).unwrap_err().problem.contains("longer than anybody needs"), "{absurd}");
        }
        assert!(parsed(&"9".repeat(1000)).is_ok() && parsed("1e-9999").is_ok());
    }

    #[test]
    fn no_object_passes_for_a_number() {
        for (text, rules) in [
            (r#"{"$serde_json::private::Number":"1.5"}"#, Rules::AGENCY),
            (r#"[{"$serde_json::private::Number":"1.5"},1.5]"#, Rules::AGENCY),
            (r#"[1.5,{"$serde_json::private::Number":"1.5"}]"#, Rules::OFFICE),
            (r#"{"\u0024serde_json::private::Number":"1.5","n":1.5}"#, Rules::OFFICE),
            (r#"{"a":1,"$serde_json::private::Number":"1"}"#, Rules::AGENCY),
            (r#"{"$serde_json::private::RawValue":"{}"}"#, Rules::AGENCY),
        ] {
            assert_eq!(super::parse(text.as_bytes(), rules).unwrap_err().kind, JsonFaultKind::Invalid, "{text}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_or_holds_nul_is_refused() {
        assert_eq!(parse(b"{\"a\":\"\xff\"}").unwrap_err().kind, JsonFaultKind::NotUtf8);
        assert_eq!(fault(r#"{"a":"x\u0000"}"#), (JsonFaultKind::Invalid, "/a".into()));
        assert_eq!(fault(r#"{"a":"\ud800"}"#).0, JsonFaultKind::Invalid);
    }

    #[test]
    fn what_is_not_json_is_refused_without_being_quoted() {
        for bad in ["", "{", "canary", "{'a':1}", "[1,]", "1 2", "{\"a\":01}", "\u{feff}{}", "NaN", "// c\n1"] {
            let fault = parse(bad.as_bytes()).unwrap_err();
            assert_eq!(fault.kind, JsonFaultKind::Invalid, "{bad}");
            assert!(!fault.problem.contains("canary"), "{}", fault.problem);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_and_what_is_taken_is_what_serde_json_reads(text in "[\\[\\]{}\",:0-9a-e.\\\\ -]{0,60}") {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
