//! A JSON Schema of the 2020-12 dialect: a value comes in, all its faults with their places go out.

use super::in_digits::integers_in_digits;
use crate::{domain::SchemaFault, settings::ConfigFaults};
use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::Value;
use std::path::Path;

pub struct Schema {
    source: Value,
    validator: jsonschema::Validator,
}

/// What counts as an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integers {
    /// Whatever is one by its value: `1.0` is (JSON Schema 2020-12, Validation, section 6.1.1). Agencies write as they do.
    ByValue,
    /// Only what is written as one: for what an office asks.
    InDigits,
}

const MAX_FAULT_CHARS: usize = 500;

impl Schema {
    pub fn compile(source: Value) -> Result<Self, String> {
        Self::compile_with(source, Integers::ByValue)
    }

    pub fn compile_with(source: Value, integers: Integers) -> Result<Self, String> {
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        let options = match integers {
            Integers::ByValue => options,
            Integers::InDigits => integers_in_digits(options),
        };
        let validator = options.build(&source).map_err(|error| error.to_string())?;
        Ok(Self { source, validator })
    }

    pub fn load(file: &Path, integers: Integers, faults: &mut ConfigFaults) -> Option<Self> {
        let source = std::fs::read(file)
            .map_err(|error| format!("cannot be read: {error}"))
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| format!("is not valid JSON: {error}")));
        match source.and_then(|source| Self::compile_with(source, integers)) {
            Ok(schema) => Some(schema),
            Err(problem) => {
                faults.add(
                    file,
                    "",
                    problem,
                    "mend it: a JSON Schema of the 2020-12 dialect, without remote references",
                );
                None
            }
        }
    }

    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Everything that does not fit, in the order of the value; empty if all fits. At most 100 faults.
    pub fn faults(&self, value: &Value) -> Vec<SchemaFault> {
        // To look for nothing but the first one takes a fraction of the time, and nearly always all fits.
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        self.validator.iter_errors(value).flat_map(|error| faults_of(&error)).take(100).collect()
    }
}

/// Mostly one; but each member that is not known is a fault of its own, at its own place.
fn faults_of(error: &ValidationError<'_>) -> Vec<SchemaFault> {
    let place = error.instance_path().to_string();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let member = |name: &String| {
                let pointer = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
                SchemaFault { pointer: bounded(pointer), problem: "is not known here".to_owned() }
            };
            unexpected.iter().map(member).collect()
        }
        _ => {
            vec![SchemaFault { pointer: bounded(place), problem: bounded(error.masked_with("this value").to_string()) }]
        }
    }
}

/// Keys may be as long as the whole body, and each fault below one would repeat it.
fn bounded(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_FAULT_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schema(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn long_keys_make_no_long_faults() {
        let schema = Schema::compile(json!({
            "additionalProperties": {"items": {"type": "string"}, "additionalProperties": false}
        }));
        let key = "ș".repeat(100_000);
        let faults = schema.unwrap().faults(&json!({&key: [1, 2, 3], "b": {&key: 1}}));
        assert_eq!(faults.len(), 4);
        assert!(faults.iter().all(|it| it.pointer.len() + it.problem.len() < 3000));
    }

    #[test]
    fn all_faults_are_named_with_their_places_and_without_their_values() {
        let schema = Schema::compile(json!({
            "type": "object",
            "properties": {
                "number": {"type": "string", "pattern": "^[0-9]{13}$"},
                "when": {"type": "string", "format": "date"},
                "kind": {"enum": ["birth"]}
            },
            "required": ["copies"],
            "additionalProperties": false
        }))
        .unwrap();
        let value = json!({"number": "2000000000canary", "when": "canary", "kind": "canary", "canary": 1});
        let faults = schema.faults(&value);
        let mut places: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        places.sort_unstable();
        assert_eq!(places, ["", "/canary", "/kind", "/number", "/when"]);
        let texts: String = faults.iter().map(|fault| fault.problem.as_str()).collect();
        assert!(!texts.contains("2000000000canary"), "{texts}");
        assert!(texts.contains("copies"), "{texts}");
    }

    #[test]
    fn numbers_of_any_length_are_judged_by_their_digits() {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let schema = Schema::compile(parsed(r#"{"type": "integer", "maximum": 12345678901234567890123}"#)).unwrap();
        for (number, fits) in [
            ("12345678901234567890123", true),
            ("12345678901234567890124", false),
            ("1.0", true),
            ("1.10", false),
            ("1e400", false),
            ("-1e9999", true),
            ("-0", true),
        ] {
            assert_eq!(schema.faults(&parsed(number)).is_empty(), fits, "{number}");
        }
        let cents = Schema::compile(parsed(r#"{"multipleOf": 0.01, "minimum": 0}"#)).unwrap();
        for (number, fits) in [("1.10", true), ("100.005", false), ("0.01234567890123456789", false), ("1e400", true)] {
            assert_eq!(cents.faults(&parsed(number)).is_empty(), fits, "{number}");
        }
    }

    #[test]
    fn an_integer_of_an_office_is_written_in_digits_alone() {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let of_office = |schema: &str| Schema::compile_with(parsed(schema), Integers::InDigits).unwrap();
        let problems = |schema: &Schema, text: &str| {
            schema.faults(&parsed(text)).into_iter().map(|fault| fault.problem).collect::<Vec<_>>()
        };
        for schema in [
            r#"{"type": "integer"}"#,
            r#"{"type": ["integer", "null"]}"#,
            r##"{"$ref": "#/$defs/it", "$defs": {"it": {"type": "integer"}}}"##,
            r#"{"enum": ["a", 0, 1, 10, 100, -7, 100000000000000000000]}"#,
        ] {
            let schema = of_office(schema);
            for number in ["1", "0", "-7", "100000000000000000000"] {
                assert!(problems(&schema, number).is_empty(), "{schema:?} {number}");
            }
            for number in ["1.0", "1.00", "1e0", "1E0", "10e-1", "1e2", "1e20", "-0", "-0.0", "0.0", "-7.0"] {
                let told = problems(&schema, number);
                assert!(told.len() == 1 && told[0].contains("digits alone"), "{number}: {told:?}");
            }
            for number in ["1.5", "1e-1"] {
                let told = problems(&schema, number);
                assert!(told.len() == 1 && !told[0].contains("digits alone"), "{number}: {told:?}");
            }
        }
        let list = of_office(r#"{"type": "array", "items": {"type": "integer"}, "const": [{"a": 1}]}"#);
        assert_eq!(problems(&list, r#"[{"a": 1.0}]"#).len(), 2, "neither an integer, nor written as the constant");
        let number = of_office(r#"{"type": "number", "maximum": 10}"#);
        assert!(["1.0", "1e0", "-0", "1.50"].iter().all(|it| problems(&number, it).is_empty()));
        let listed = of_office(r#"{"enum": [1.5, 2.0]}"#);
        assert!(["1.50", "15e-1", "2", "2.0"].iter().all(|it| problems(&listed, it).is_empty()));
        assert!(problems(&of_office(r#"{"type": "object"}"#), "[]")[0].contains("not of type object"));
    }

    #[test]
    fn a_remote_reference_is_refused_and_never_fetched() {
        assert!(Schema::compile(json!({"$ref": "https://example.org/schema.json"})).is_err());
    }
}
