//! What a filter gave comes in; a reading goes out: one of the things that an answer can mean.

use crate::domain::{Effect, Refusal, redact_for_display};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What an answer means.
#[derive(Clone, PartialEq)]
pub enum Reading {
    Answered {
        answer: Value,
    },
    Refused {
        refusal: Refusal,
    },
    /// The agency works on it.
    Waiting,
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

/// To which request the answer belongs, in the agency's words.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CorrelationFields {
    /// Our reference, as the agency repeats it.
    pub reference: Option<String>,
    /// Whom the answer is about: two reads about one person have one answer.
    pub subject: Option<String>,
    /// SHA-256 or SHA-512 of the request's body as it was sent, in hexadecimal or base64. It binds where the body names the
    /// request.
    pub request_digest: Option<String>,
    /// Of the very message that is answered, as the agency repeats it.
    pub message_id: Option<String>,
}

impl CorrelationFields {
    /// Whether it is enough to know the answer's request. Whom it is about is enough only for what changes nothing: two
    /// changes for one person are two. `body`: the request's.
    pub fn binds(&self, effect: Effect, body: BodyOf) -> bool {
        let by_subject = self.subject.is_some() && effect == Effect::Read;
        let by_digest = self.request_digest.is_some() && body.binds_by_digest(effect);
        self.reference.is_some() || self.message_id.is_some() || by_digest || by_subject
    }
}

/// Which request the digest of a body names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyOf {
    /// There is no body, and each of these has the same digest.
    NoBody,
    /// Another submission may have the same body.
    NotUnique,
    /// Only another message of the same submission may have it.
    Submission,
    /// No other message has it.
    Message,
}

impl BodyOf {
    /// What asks the same may have the same answer.
    pub fn binds_by_digest(self, effect: Effect) -> bool {
        match self {
            BodyOf::NoBody => false,
            BodyOf::NotUnique => effect == Effect::Read,
            BodyOf::Submission | BodyOf::Message => true,
        }
    }
}

/// What a filter makes of an answer.
#[derive(Clone, PartialEq)]
pub struct Mapped {
    pub reading: Reading,
    pub correlation: CorrelationFields,
}

/// What a filter writes: exactly one of the first five, and what binds it to its request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    answer: Option<Map<String, Value>>,
    refused: Option<RefusedWritten>,
    waiting: Option<bool>,
    fault: Option<FaultWritten>,
    not_seen: Option<bool>,
    reference: Option<String>,
    subject: Option<String>,
    request_digest: Option<String>,
    message_id: Option<String>,
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

const FORM: &str = "it must be null or an object with exactly one of answer, refused, waiting, fault and not_seen, and perhaps reference, subject, request_digest and message_id, which are texts";

impl Mapped {
    /// The error says what form was expected; it never quotes what was found.
    pub fn from_json(value: Option<Value>) -> Result<Self, &'static str> {
        let written: Written = match value {
            None | Some(Value::Null) => {
                return Ok(Self { reading: Reading::Unmapped, correlation: CorrelationFields::default() });
            }
            Some(value) => serde_json::from_value(value).map_err(|_| FORM)?,
        };
        let correlation = CorrelationFields {
            reference: written.reference,
            subject: written.subject,
            request_digest: written.request_digest,
            message_id: written.message_id,
        };
        let reading = match (written.answer, written.refused, written.waiting, written.fault, written.not_seen) {
            (Some(answer), None, None, None, None) => Reading::Answered { answer: Value::Object(answer) },
            (None, Some(refused), None, None, None) => {
                let text = redact_for_display(&refused.text, MAX_TEXT_CHARS);
                Reading::Refused { refusal: Refusal { code: redact_for_display(&refused.code, MAX_CODE_CHARS), text } }
            }
            (None, None, Some(true), None, None) => Reading::Waiting,
            (None, None, None, Some(fault), None) => {
                let (code, text) =
                    (redact_for_display(&fault.code, MAX_CODE_CHARS), redact_for_display(&fault.text, MAX_TEXT_CHARS));
                Reading::Failed { code, text, transient: fault.transient }
            }
            (None, None, None, None, Some(true)) => Reading::NotSeen,
            _ => return Err(FORM),
        };
        Ok(Self { reading, correlation })
    }

    /// The form in which a filter writes it.
    pub fn to_json(&self) -> Value {
        let mut value = match &self.reading {
            Reading::Answered { answer } => json!({"answer": answer}),
            Reading::Refused { refusal } => json!({"refused": {"code": refusal.code, "text": refusal.text}}),
            Reading::Waiting => json!({"waiting": true}),
            Reading::Failed { code, text, transient } => {
                json!({"fault": {"code": code, "text": text, "transient": transient}})
            }
            Reading::NotSeen => json!({"not_seen": true}),
            Reading::Unmapped => Value::Null,
        };
        let CorrelationFields { reference, subject, request_digest, message_id } = &self.correlation;
        let named = [
            ("reference", reference),
            ("subject", subject),
            ("request_digest", request_digest),
            ("message_id", message_id),
        ];
        for (key, text) in named {
            if let (Some(text), Some(object)) = (text, value.as_object_mut()) {
                object.insert(key.to_owned(), text.as_str().into());
            }
        }
        value
    }
}

/// Shows the kind only: answers are about people.
impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Reading::Answered { .. } => "Answered(..)",
            Reading::Refused { .. } => "Refused(..)",
            Reading::Waiting => "Waiting",
            Reading::Failed { .. } => "Failed(..)",
            Reading::NotSeen => "NotSeen",
            Reading::Unmapped => "Unmapped",
        })
    }
}

impl std::fmt::Debug for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.reading.fmt(f)
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
            json!({"not_seen": true, "reference": "r"}),
            json!({"answer": {}, "subject": "s", "request_digest": "d", "message_id": "m"}),
            Value::Null,
        ] {
            let mapped = Mapped::from_json(Some(written.clone())).unwrap();
            assert_eq!(mapped.to_json(), written);
        }
        assert_eq!(Mapped::from_json(None).unwrap().reading, Reading::Unmapped);
    }

    #[test]
    fn an_agencys_own_words_are_bounded_and_on_one_line() {
        let hostile = format!("a\n\u{0}2000000000001{}", "x".repeat(10_000));
        for kind in [
            json!({"refused": {"code": hostile, "text": hostile}}),
            json!({"fault": {"code": hostile, "text": hostile, "transient": false}}),
        ] {
            let reading = Mapped::from_json(Some(kind)).unwrap().to_json().to_string();
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
            assert_eq!(Mapped::from_json(Some(bad.clone())), Err(FORM), "{bad}");
        }
    }
}
