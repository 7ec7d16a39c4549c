//! What a filter gave comes in; a reading goes out: one of the things that an answer can mean.

use crate::domain::{Refusal, told};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What an answer means.
#[derive(Clone, PartialEq)]
pub enum Reading {
    /// `reference`: of which request the agency says that it is the answer.
    Answered {
        answer: Value,
        reference: Option<String>,
    },
    Refused {
        refusal: Refusal,
        reference: Option<String>,
    },
    /// The agency works on it.
    Waiting {
        reference: Option<String>,
    },
    /// The agency failed. `transient`: it has not acted and may be asked again.
    Failed {
        code: String,
        text: String,
        transient: bool,
    },
    /// Lookup only: the agency has never seen our reference.
    NotSeen,
    /// The filter has nothing to say: HTTP status and SOAP fault decide.
    Unmapped,
}

/// What a filter writes: exactly one of the first five, with or without a reference.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    answer: Option<Map<String, Value>>,
    refused: Option<RefusedWritten>,
    waiting: Option<bool>,
    fault: Option<FaultWritten>,
    not_seen: Option<bool>,
    reference: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedWritten {
    code: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultWritten {
    code: String,
    text: String,
    transient: bool,
}

/// An agency's code goes into timelines, its text into answers to offices: neither may be anything but a few words.
const MAX_CODE_CHARS: usize = 80;
const MAX_TEXT_CHARS: usize = 2000;

const FORM: &str = "it must be null or an object with exactly one of answer, refused, waiting, fault and not_seen, and perhaps reference";

impl Reading {
    /// The error says what form was expected; it never quotes what was found.
    pub fn from_json(value: Option<Value>) -> Result<Self, &'static str> {
        let written: Written = match value {
            None | Some(Value::Null) => return Ok(Reading::Unmapped),
            Some(value) => serde_json::from_value(value).map_err(|_| FORM)?,
        };
        let reference = written.reference;
        match (written.answer, written.refused, written.waiting, written.fault, written.not_seen) {
            (Some(answer), None, None, None, None) => {
                Ok(Reading::Answered { answer: Value::Object(answer), reference })
            }
            (None, Some(refused), None, None, None) => {
                let text = told(&refused.text, MAX_TEXT_CHARS);
                Ok(Reading::Refused { refusal: Refusal { code: told(&refused.code, MAX_CODE_CHARS), text }, reference })
            }
            (None, None, Some(true), None, None) => Ok(Reading::Waiting { reference }),
            (None, None, None, Some(fault), None) => {
                let (code, text) = (told(&fault.code, MAX_CODE_CHARS), told(&fault.text, MAX_TEXT_CHARS));
                Ok(Reading::Failed { code, text, transient: fault.transient })
            }
            (None, None, None, None, Some(true)) => Ok(Reading::NotSeen),
            _ => Err(FORM),
        }
    }

    /// The form in which a filter writes it.
    pub fn to_json(&self) -> Value {
        let mut value = match self {
            Reading::Answered { answer, .. } => json!({"answer": answer}),
            Reading::Refused { refusal, .. } => json!({"refused": {"code": refusal.code, "text": refusal.text}}),
            Reading::Waiting { .. } => json!({"waiting": true}),
            Reading::Failed { code, text, transient } => {
                json!({"fault": {"code": code, "text": text, "transient": transient}})
            }
            Reading::NotSeen => json!({"not_seen": true}),
            Reading::Unmapped => Value::Null,
        };
        if let (Some(reference), Some(object)) = (self.reference(), value.as_object_mut()) {
            object.insert("reference".to_owned(), reference.into());
        }
        value
    }

    /// Of which request the agency says that it is the answer.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Reading::Answered { reference, .. }
            | Reading::Refused { reference, .. }
            | Reading::Waiting { reference } => reference.as_deref(),
            Reading::Failed { .. } | Reading::NotSeen | Reading::Unmapped => None,
        }
    }
}

/// Shows the kind only: answers are about people.
impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Reading::Answered { .. } => "Answered(..)",
            Reading::Refused { .. } => "Refused(..)",
            Reading::Waiting { .. } => "Waiting(..)",
            Reading::Failed { .. } => "Failed(..)",
            Reading::NotSeen => "NotSeen",
            Reading::Unmapped => "Unmapped",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reading_is_written_and_read_back() {
        for written in [
            json!({"answer": {"a": 1}, "reference": "r"}),
            json!({"refused": {"code": "c", "text": "t"}}),
            json!({"waiting": true, "reference": "r"}),
            json!({"fault": {"code": "c", "text": "t", "transient": true}}),
            json!({"not_seen": true}),
            Value::Null,
        ] {
            let reading = Reading::from_json(Some(written.clone())).unwrap();
            assert_eq!(reading.to_json(), written);
        }
        assert_eq!(Reading::from_json(None), Ok(Reading::Unmapped));
    }

    #[test]
    fn an_agencys_own_words_are_bounded_and_on_one_line() {
        let hostile = format!("a\n\u{0}2000000000001{}", "x".repeat(10_000));
        for kind in [
            json!({"refused": {"code": hostile, "text": hostile}}),
            json!({"fault": {"code": hostile, "text": hostile, "transient": false}}),
        ] {
            let reading = Reading::from_json(Some(kind)).unwrap().to_json().to_string();
            assert!(reading.len() < 2300 && !reading.contains("\\n") && !reading.contains("\\u0000"), "{reading}");
            assert!(!reading.contains("2000000000001"), "{reading}");
        }
    }

    #[test]
    fn what_is_no_reading_is_refused() {
        for bad in [
            json!({}),
            json!([]),
            json!("x"),
            json!({"answer": 1}),
            json!({"answer": {}, "waiting": true}),
            json!({"waiting": false}),
            json!({"reference": "r"}),
            json!({"fault": {"code": "c", "text": "t"}}),
            json!({"refused": {"code": "c", "text": "t", "more": 1}}),
            json!({"answer": {}, "note": 1}),
        ] {
            assert_eq!(Reading::from_json(Some(bad.clone())), Err(FORM), "{bad}");
        }
    }
}
