//! Integers of an office are written in digits alone: the keywords `type`, `enum` and `const` of a request's schema, stricter
//! than JSON Schema has them.
//!
//! JSON Schema counts `1.0` as an integer. A template prints it as it was written, and no agency's contract takes that for
//! one; to print it as `1` would change it in silence. So it is refused where it comes in, and told how to be written.

use crate::json::canonical_number;
use jsonschema::{Keyword, ValidationError, ValidationOptions};
use serde_json::{Number, Value};

pub(super) fn integers_in_digits(options: ValidationOptions<'_>) -> ValidationOptions<'_> {
    options
        .with_keyword("type", |_, types, _| Ok(Box::new(Type(names(types)))))
        .with_keyword("enum", |_, values, _| Ok(Box::new(OneOf(values.as_array().cloned().unwrap_or_default()))))
        .with_keyword("const", |_, value, _| Ok(Box::new(OneOf(vec![value.clone()]))))
}

const NOT_IN_DIGITS: &str = "is an integer that is not written as one: write its digits alone, such as 1 and not 1.0 or 1e0, \
                             and 0 without a sign";

/// The types that a value may have.
struct Type(Vec<String>);

/// The values of `enum`, or the one of `const`.
struct OneOf(Vec<Value>);

fn names(types: &Value) -> Vec<String> {
    match types {
        Value::String(name) => vec![name.clone()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

impl<'i> Keyword<'i> for Type {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(value) {
            return Ok(());
        }
        let is_whole = value.as_number().is_some_and(|number| self.has("integer") && is_whole(number));
        Err(ValidationError::custom(match is_whole {
            true => NOT_IN_DIGITS.to_owned(),
            false => format!("this value is not of type {}", self.0.join(" or ")),
        }))
    }

    fn is_valid(&self, value: &'i Value) -> bool {
        match value {
            Value::Null => self.has("null"),
            Value::Bool(_) => self.has("boolean"),
            Value::Number(number) => self.has("number") || (self.has("integer") && is_in_digits(number)),
            Value::String(_) => self.has("string"),
            Value::Array(_) => self.has("array"),
            Value::Object(_) => self.has("object"),
        }
    }
}

impl Type {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|it| it == name)
    }
}

impl<'i> Keyword<'i> for OneOf {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(value) {
            return Ok(());
        }
        Err(ValidationError::custom(match self.0.iter().any(|listed| is_same(listed, value, is_same_number)) {
            true => NOT_IN_DIGITS.to_owned(),
            false => format!("this value is not one of {}", Value::from(self.0.clone())),
        }))
    }

    fn is_valid(&self, value: &'i Value) -> bool {
        self.0.iter().any(|listed| is_same(listed, value, is_written_as_listed))
    }
}

fn is_same(listed: &Value, value: &Value, numbers: fn(&Number, &Number) -> bool) -> bool {
    match (listed, value) {
        (Value::Number(listed), Value::Number(number)) => numbers(listed, number),
        (Value::Array(listed), Value::Array(items)) => {
            listed.len() == items.len() && listed.iter().zip(items).all(|(one, other)| is_same(one, other, numbers))
        }
        (Value::Object(listed), Value::Object(members)) => {
            let has = |(name, one): (&String, &Value)| members.get(name).is_some_and(|it| is_same(one, it, numbers));
            listed.len() == members.len() && listed.iter().all(has)
        }
        _ => listed == value,
    }
}

fn is_same_number(listed: &Number, number: &Number) -> bool {
    let zero = |it: String| if it == "-e0" { "e0".to_owned() } else { it };
    zero(canonical_number(listed)) == zero(canonical_number(number))
}

/// An integer of the schema is one of the request's: what the schema itself writes with a fraction may be written in any way.
fn is_written_as_listed(listed: &Number, number: &Number) -> bool {
    is_same_number(listed, number) && (is_in_digits(number) || !is_in_digits(listed))
}

fn is_in_digits(number: &Number) -> bool {
    let text = number.as_str();
    let digits = text.strip_prefix('-').unwrap_or(text);
    text != "-0" && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// By its value, in whatever way it is written.
fn is_whole(number: &Number) -> bool {
    canonical_number(number).rsplit_once('e').is_some_and(|(_, power)| !power.starts_with('-'))
}
