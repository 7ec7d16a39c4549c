//! JSON text from a stranger comes in; a value goes out in which no object had the same key twice.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Where it went wrong; the text itself is never quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the JSON is not valid at line {line}, column {column}{}", if *.duplicate_key { ": an object has the same key twice" } else { "" })]
pub struct InvalidJson {
    pub line: usize,
    pub column: usize,
    pub duplicate_key: bool,
}

/// Nesting is bounded by the parser's own limit of 128.
pub fn strict_json(bytes: &[u8]) -> Result<Value, InvalidJson> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    value.map_err(|error| InvalidJson {
        line: error.line(),
        column: error.column(),
        duplicate_key: error.to_string().starts_with(DUPLICATE_KEY),
    })
}

const DUPLICATE_KEY: &str = "duplicate key";

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(DUPLICATE_KEY));
            }
            let value = entries.next_value_seed(Strict)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_read_as_it_stands() {
        let value = strict_json(br#"{"a":[1,-2,1.5,null,true,"x"],"b":{}}"#).unwrap();
        assert_eq!(value, json!({"a": [1, -2, 1.5, null, true, "x"], "b": {}}));
    }

    #[test]
    fn a_key_that_comes_twice_is_refused_and_not_quoted() {
        let error = strict_json(b"{\"canary\":1,\n\"canary\":2}").unwrap_err();
        assert!(error.duplicate_key);
        assert!(!error.to_string().contains("canary"), "{error}");
    }

    #[test]
    fn what_is_not_exactly_one_value_is_refused() {
        for bad in ["", "{", "1 2", "{\"a\":1,}", "NaN", "\u{feff}1", "'a'", &"[".repeat(5000)] {
            assert!(strict_json(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(strict_json(b"\"\xff\"").is_err());
    }
}
