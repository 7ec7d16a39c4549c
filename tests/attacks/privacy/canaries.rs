//! What must stay where it belongs: texts that are looked for, and requests that carry them.

use crate::environment::request;
use serde_json::{Value, json};

pub const PERSON: &str = "2000000099911";
pub const CLERK: &str = "2000000099912";
pub const ENTITY: &str = "1000000099913";
pub const BASIS: &str = "canary-basis-99914";
pub const REASON: &str = "Canary Înștiințare 9991500042815";
pub const NOTE: &str = "canary-note-99916";
/// In the base64 of the webhook's secret.
pub const WEBHOOK_KEY: &[u8; 32] = b"canary-webhook-key-of-32-bytes!!";
pub const PASSWORD: &str = "canary-password-99917";
pub const FILE_NAME: &str = "canary-file-99918.pdf";
pub const FILE_TEXT: &str = "canary-file-text-99919";

/// The log's filter that lets everything through that can be asked for.
pub const TALKATIVE: &str = "trace,h2=trace,rustls=trace,hyper=trace,lapin=trace,tokio_postgres=trace";

pub fn canary(service: &str) -> Value {
    let mut request = request(service, PERSON);
    request["context"] = json!({"clerk": CLERK, "entity": ENTITY, "legal_basis": BASIS, "reason": REASON});
    match service {
        "civil-status-extract" => request["data"]["note"] = json!(NOTE),
        "legal-event" => request["data"]["message"] = json!(NOTE),
        _ => {}
    }
    request
}

/// Everything that is looked for in every place.
#[derive(Default)]
pub struct Canaries(Vec<String>);

impl Canaries {
    pub fn new() -> Self {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let fixed =
            [PERSON, CLERK, ENTITY, BASIS, REASON, "9991500042815", NOTE, PASSWORD, "whsec_", FILE_NAME, FILE_TEXT];
        let mut all: Vec<_> = fixed.map(str::to_owned).into();
        // As logs and JSON may write them too.
        all.push(STANDARD.encode(WEBHOOK_KEY));
        all.push(String::from_utf8_lossy(WEBHOOK_KEY).into_owned());
        all.push(STANDARD.encode(PERSON));
        all.push(PERSON.bytes().map(|byte| format!("{byte:02x}")).collect());
        all.push(format!("{:?}", PERSON.as_bytes()));
        Self(all)
    }

    pub fn add(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }

    /// Names, birth dates and the like: every text of an agency's answer that is no word of its vocabulary.
    pub fn add_texts_of(&mut self, answer: &Value) {
        match answer {
            Value::String(text) if is_telling(text) => self.0.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| self.add_texts_of(item)),
            Value::Object(members) => members.values().for_each(|member| self.add_texts_of(member)),
            _ => {}
        }
    }

    /// The middle of a private key's text.
    pub fn add_key(&mut self, pem: &str) {
        self.0.push(pem.lines().nth(1).unwrap().to_owned());
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn assert_absent(&self, place: &str, text: &str) {
        for canary in &self.0 {
            if let Some(at) = text.find(canary.as_str()) {
                let around: String = text[..at].chars().rev().take(300).collect::<String>().chars().rev().collect();
                panic!("{canary:?} is in {place}: … {around}>>>");
            }
        }
    }
}

/// Short numbers stand in times as well.
fn is_telling(text: &str) -> bool {
    let has_letters = text.chars().any(char::is_alphabetic);
    let is_special = |it: char| it.is_uppercase() || it.is_ascii_digit();
    text.chars().count() >= if has_letters { 5 } else { 8 } && text.chars().any(is_special)
}
