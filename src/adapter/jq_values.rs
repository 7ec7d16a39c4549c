//! A JSON value comes in, the same as jq's value goes out; and the other way round, within bounds.
//!
//! Member by member, as if through text, without the text. What text would tell apart and values do not (numbers with
//! their digits, bytes that are no text) still goes through it.

use crate::json;
use jaq_json::{Map, Num, Rc, Val, read};
use serde_json::Value;

/// As deep as `serde_json` reads.
const MAX_DEPTH: usize = 127;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    TooLarge,
    NoJson,
    /// Calculating has made a number of which digits are lost.
    Rounded,
}

/// From here on a double cannot hold every integer, so nobody knows which one a result was.
const FIRST_UNSURE: f64 = 9_007_199_254_740_992.0;

/// About the length of the value's text in bytes.
pub fn text_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 8,
        Value::Number(number) => 2 + number.as_str().len(),
        Value::String(text) => text.len() + 3,
        Value::Array(items) => 2 + items.iter().map(text_bytes).sum::<usize>(),
        Value::Object(members) => 2 + members.iter().map(|(name, it)| name.len() + 4 + text_bytes(it)).sum::<usize>(),
    }
}

/// `None`: a number that cannot be read, which no number is.
pub fn to_jq(value: &Value) -> Option<Val> {
    Some(match value {
        Value::Null => Val::Null,
        Value::Bool(flag) => Val::Bool(*flag),
        // It would become an integer without a sign.
        Value::Number(number) if number.as_str() == "-0" => Val::Num(Num::Dec(Rc::new("-0".to_owned()))),
        Value::Number(number) => Val::Num(read::parse_single_num(number.as_str().as_bytes())?),
        Value::String(text) => Val::utf8_str(text.clone()),
        Value::Array(items) => Val::Arr(Rc::new(items.iter().map(to_jq).collect::<Option<_>>()?)),
        Value::Object(members) => {
            let member = |(name, value): (&String, _)| Some((Val::utf8_str(name.clone()), to_jq(value)?));
            Val::obj(members.iter().map(member).collect::<Option<Map>>()?)
        }
    })
}

/// A value whose text would take more than about `limit_bytes` is refused, and so is one that may have been rounded.
pub fn from_jq(value: &Val, limit_bytes: usize, had_long_decimal: bool) -> Result<Value, Unfit> {
    Reader { left_bytes: limit_bytes, had_long_decimal }.read(value, 0)
}

struct Reader {
    left_bytes: usize,
    /// Then a double among the results is taken for one that was made of it.
    had_long_decimal: bool,
}

impl Reader {
    fn read(&mut self, value: &Val, depth: usize) -> Result<Value, Unfit> {
        self.spend(2)?;
        match value {
            Val::Null => Ok(Value::Null),
            Val::Bool(flag) => Ok((*flag).into()),
            Val::Num(Num::Int(number)) => Ok((*number).into()),
            Val::TStr(bytes) => match str::from_utf8(bytes) {
                Ok(text) => self.text(text).map(Value::String),
                Err(_) => self.through_text(value),
            },
            // No number that the agency wrote is a double here: it was made by calculating.
            Val::Num(Num::Float(it)) if !it.is_nan() && (self.had_long_decimal || it.abs() >= FIRST_UNSURE) => {
                Err(Unfit::Rounded)
            }
            Val::Num(_) | Val::BStr(_) => self.through_text(value),
            Val::Arr(_) | Val::Obj(_) if depth >= MAX_DEPTH => Err(Unfit::NoJson),
            Val::Arr(items) => items.iter().map(|item| self.read(item, depth + 1)).collect(),
            Val::Obj(members) => members
                .iter()
                .map(|(name, value)| Ok((self.name(name)?, self.read(value, depth + 1)?)))
                .collect::<Result<serde_json::Map<_, _>, _>>()
                .map(Value::Object),
        }
    }

    /// To jq, names need not be text.
    fn name(&mut self, name: &Val) -> Result<String, Unfit> {
        match name {
            Val::TStr(bytes) => match str::from_utf8(bytes) {
                Ok(name) if !json::is_reserved(name) => self.text(name),
                Ok(_) | Err(_) => Err(Unfit::NoJson),
            },
            _ => Err(Unfit::NoJson),
        }
    }

    fn text(&mut self, text: &str) -> Result<String, Unfit> {
        self.spend(text.len() + 2)?;
        Ok(text.to_owned())
    }

    fn through_text(&mut self, value: &Val) -> Result<Value, Unfit> {
        let text = value.to_string();
        self.spend(text.len())?;
        serde_json::from_str(&text).map_err(|_| Unfit::NoJson)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Unfit> {
        self.left_bytes = self.left_bytes.checked_sub(bytes).ok_or(Unfit::TooLarge)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn values() -> impl Strategy<Value = Value> {
        let number = prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "(-?[1-9][0-9]{0,40}|0)(\\.[0-9]{1,30})?(e[+-][0-9]{1,3})?"
                .prop_map(|text| serde_json::from_str(&text).unwrap()),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number,
            any::<String>().prop_map(Value::from)
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            let members = proptest::collection::vec((any::<String>(), inner.clone()), 0..6);
            prop_oneof![
                proptest::collection::vec(inner, 0..6).prop_map(Value::from),
                members.prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn through_text(value: &Value) -> Val {
        read::parse_single(value.to_string().as_bytes()).unwrap()
    }

    proptest! {
        #[test]
        fn a_value_is_what_its_text_would_be(value in values()) {
            let direct = to_jq(&value).unwrap();
            prop_assert_eq!(direct.to_string(), through_text(&value).to_string());
            let back: Value = serde_json::from_str(&direct.to_string()).unwrap();
            prop_assert_eq!(from_jq(&direct, usize::MAX, true), Ok(back));
            prop_assert_eq!(direct.to_string(), value.to_string());
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let named_by_a_number = Val::obj([(Val::Num(Num::Int(1)), Val::Null)].into_iter().collect());
        assert_eq!(from_jq(&named_by_a_number, 1000, false), Err(Unfit::NoJson));
        assert_eq!(from_jq(&Val::Num(Num::Float(f64::NAN)), 1000, false), Err(Unfit::NoJson));
        let nested = |levels| (0..levels).fold(Val::Null, |inner, _| Val::Arr(Rc::new(vec![inner])));
        assert!(from_jq(&nested(127), 1000, false).is_ok());
        assert_eq!(from_jq(&nested(128), 1000, false), Err(Unfit::NoJson));
    }

    #[test]
    fn what_was_rounded_or_has_a_reserved_name_is_refused() {
        let float = |number| Val::Num(Num::Float(number));
        assert_eq!(from_jq(&float(9_007_199_254_740_992.0), 1000, false), Err(Unfit::Rounded));
        assert_eq!(from_jq(&float(-1e300), 1000, false), Err(Unfit::Rounded));
        assert_eq!(from_jq(&float(1.5), 1000, true), Err(Unfit::Rounded));
        assert_eq!(from_jq(&float(1.5), 1000, false), Ok(json!(1.5)));
        let reserved = Val::obj([(Val::utf8_str("$serde_json::private::Number"), Val::Null)].into_iter().collect());
        assert_eq!(from_jq(&reserved, 1000, false), Err(Unfit::NoJson));
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let long = to_jq(&json!({"a": ["x".repeat(100), "y".repeat(100)]})).unwrap();
        assert_eq!(from_jq(&long, 200, false), Err(Unfit::TooLarge));
        assert!(from_jq(&long, 300, false).is_ok());
        assert!(text_bytes(&json!({"a": ["x".repeat(100)]})) > 100);
    }
}
