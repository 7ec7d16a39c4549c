//! The body of `POST /v1/submissions`: a JSON value comes in; what the office asks for goes out, or all that is wrong
//! with it and where.

use super::{
    GatewayState, moment,
    office_directory::KnownOffice,
    openapi,
    services::{Usable, usable_service},
};
use crate::{
    catalogue::{SchemaFault, Service},
    domain::{
        AttachmentId, AttachmentRef, CallContext, Code, Priority, ServiceName, Subject, Submission, SubmissionId,
        TraceParent, later, whole_microseconds,
    },
    http_server::Problem,
    journal::JournalError,
    xml::is_xml_char,
};
use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Number, Value, json};

/// The envelope: valid by the schema `NewSubmission` of the API's own document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmissionRequest {
    pub service: String,
    pub context: CallContext,
    pub subject: Subject,
    pub data: Value,
    #[serde(default)]
    pub priority: Priority,
    #[serde(default, deserialize_with = "moment::deserialize")]
    pub expires_at: Option<Timestamp>,
    #[serde(default)]
    pub attachments: Vec<AttachmentId>,
}

/// A fault, and the code that it has if there is no other.
struct Found {
    alone: Code,
    fault: SchemaFault,
}

impl SubmissionRequest {
    /// Reads the envelope. If it is wrong, `data` is looked at too, so that the office learns everything at once.
    pub fn read(state: &GatewayState, office: &KnownOffice, value: Value) -> Result<Self, Problem> {
        let envelope = openapi::new_submission().map_err(|_| Problem::from(Code::Internal))?;
        let unprintable = unprintable(&value);
        if !unprintable.is_empty() {
            return Err(Problem::with_errors(Code::RequestCharacter, unprintable));
        }
        let mut faults = envelope.faults(&value);
        let expires_at = value.get("expires_at").and_then(Value::as_str);
        if faults.is_empty() && expires_at.is_some_and(|text| moment::moment(text).is_none()) {
            faults.push(SchemaFault { pointer: "/expires_at".into(), problem: moment::NONE.into() });
        }
        if faults.is_empty() {
            match serde_json::from_value(value) {
                Ok(request) => return Ok(request),
                Err(_) => return Err(Problem::at(Code::RequestSchema, "", "an identifier cannot exist")),
            }
        }
        let service = value.get("service").and_then(Value::as_str).and_then(|name| name.parse().ok());
        if let Some(Usable { service, .. }) = service.and_then(|name| usable_service(state, office, &name)) {
            faults.extend(value.get("data").map(|data| data_faults(service, data)).unwrap_or_default());
            let is_subject_told = faults.iter().any(|fault| fault.pointer.starts_with("/subject"));
            let subject = value.get("subject").filter(|_| !is_subject_told).map(Subject::deserialize);
            faults.extend(subject.and_then(Result::ok).and_then(|subject| subject_fault(service, &subject)));
        }
        Err(Problem::with_errors(Code::RequestSchema, faults))
    }

    /// What two requests have in common if they are the same one: independent of white space, order of keys, and
    /// defaults that are written out.
    pub fn sha256(&self) -> [u8; 32] {
        let attachments: Vec<_> = self.attachments.iter().map(ToString::to_string).collect();
        let whole = json!({
            "service": self.service,
            "context": {
                "clerk": self.context.clerk,
                "entity": self.context.entity,
                "legal_basis": self.context.legal_basis,
                "reason": self.context.reason,
            },
            "subject": {"scheme": self.subject.scheme, "id": self.subject.id},
            "data": self.data,
            "priority": self.priority.as_str(),
            "expires_at": self.expires_at.map(|at| at.as_nanosecond().to_string()),
            "attachments": attachments,
        });
        let mut canonical = String::new();
        write_canonical(&whole, &mut canonical);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, canonical.as_bytes()).as_ref());
        bytes
    }

    /// Checks what can change between two requests: the catalogue, the clock, the attachments that are there.
    pub async fn into_submission(
        self,
        state: &GatewayState,
        office: &KnownOffice,
        trace: TraceParent,
    ) -> Result<Submission, Problem> {
        // As exact as the journal keeps it.
        let now = whole_microseconds(state.clock.now());
        let mut found = Vec::new();
        let usable = self.find_service(state, office, &mut found);
        if self.expires_at.is_some_and(|at| at <= now) {
            found.push(Found::new(Code::RequestExpiresAt, "/expires_at", "is not in the future"));
        }
        let attachments = self.find_attachments(state, office, &mut found).await?;
        if let Some(Usable { service, .. }) = usable {
            // Of what is not there nobody knows the kind: that it is not there is told already.
            let are_all_known = attachments.len() == self.attachments.len();
            let faults = if are_all_known { service.attachments.faults(&attachments) } else { Vec::new() };
            found.extend(faults.into_iter().map(|fault| Found { alone: Code::AttachmentNotTaken, fault }));
        }
        let Some(Usable { service, adapter, operation }) = usable.filter(|_| found.is_empty()) else {
            return Err(problem_of(found));
        };
        let deadline = SignedDuration::try_from(operation.deadline).unwrap_or(SignedDuration::MAX);
        let latest = later(now, deadline);
        Ok(Submission {
            id: SubmissionId::new(),
            office: office.office.name.clone(),
            service: service.name.clone(),
            agency: adapter.agency.clone(),
            effect: operation.effect,
            priority: self.priority,
            context: self.context,
            subject: self.subject,
            data: self.data,
            attachments,
            accepted_at: now,
            expires_at: self.expires_at.map_or(latest, |wanted| wanted.min(latest)),
            trace,
        })
    }

    /// Who does it and how; what is wrong with `subject` and `data` goes to `found`.
    fn find_service<'a>(
        &self,
        state: &'a GatewayState,
        office: &KnownOffice,
        found: &mut Vec<Found>,
    ) -> Option<Usable<'a>> {
        let usable = self.service.parse::<ServiceName>().ok().and_then(|name| usable_service(state, office, &name));
        let Some(Usable { service, .. }) = usable else {
            found.push(Found::new(Code::ServiceUnknown, "/service", "no such service in this office's catalogue"));
            return None;
        };
        let faults = subject_fault(service, &self.subject).into_iter().chain(data_faults(service, &self.data));
        found.extend(faults.map(|fault| Found { alone: Code::RequestSchema, fault }));
        usable
    }

    async fn find_attachments(
        &self,
        state: &GatewayState,
        office: &KnownOffice,
        found: &mut Vec<Found>,
    ) -> Result<Vec<AttachmentRef>, JournalError> {
        let mut attachments = Vec::new();
        for (at, id) in self.attachments.iter().enumerate() {
            match state.journal.attachment(&office.office.name, *id).await? {
                Some(attachment) => attachments.push(attachment),
                None => {
                    let pointer = format!("/attachments/{at}");
                    found.push(Found::new(Code::AttachmentUnknown, &pointer, "was not uploaded by this office"));
                }
            }
        }
        Ok(attachments)
    }
}

impl Found {
    fn new(alone: Code, pointer: &str, problem: &str) -> Self {
        Self { alone, fault: SchemaFault { pointer: pointer.into(), problem: problem.into() } }
    }
}

/// One kind of fault is told by its own code; a mixture by the general one.
fn problem_of(found: Vec<Found>) -> Problem {
    let first = found.first().map_or(Code::RequestSchema, |it| it.alone);
    let code = if found.iter().all(|it| it.alone == first) { first } else { Code::RequestSchema };
    Problem::with_errors(code, found.into_iter().map(|it| it.fault).collect())
}

fn data_faults(service: &Service, data: &Value) -> Vec<SchemaFault> {
    let faults = service.request_schema.faults(data).into_iter();
    faults.map(|it| SchemaFault { pointer: format!("/data{}", it.pointer), ..it }).collect()
}

fn subject_fault(service: &Service, subject: &Subject) -> Option<SchemaFault> {
    service.subject.as_ref().and_then(|rule| rule.fault(subject))
}

/// Texts and names that no template could print (XML 1.0, section 2.2): found here, they are the office's to mend; found
/// later, they would stand in front of an operator who can do nothing about them.
fn unprintable(value: &Value) -> Vec<SchemaFault> {
    let mut faults = Vec::new();
    look_for_unprintable(value, &mut String::new(), &mut faults);
    faults
}

/// So many are named; whoever has more has one cause for all.
const MOST_UNPRINTABLE: usize = 20;

fn look_for_unprintable(value: &Value, pointer: &mut String, faults: &mut Vec<SchemaFault>) {
    let mut check = |text: &str, pointer: &str| {
        if let Some(character) = text.chars().find(|character| !is_xml_char(*character))
            && faults.len() < MOST_UNPRINTABLE
        {
            let problem = format!("holds the character U+{:04X}, which no message can carry", u32::from(character));
            faults.push(SchemaFault { pointer: pointer.to_owned(), problem });
        }
    };
    let length = pointer.len();
    match value {
        Value::String(text) => check(text, pointer),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                pointer.push_str(&format!("/{at}"));
                look_for_unprintable(item, pointer, faults);
                pointer.truncate(length);
            }
        }
        Value::Object(members) => {
            for name in members.keys() {
                check(name, pointer);
            }
            for (name, member) in members {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                look_for_unprintable(member, pointer, faults);
                pointer.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Keys sorted, no white space, and `1.0` as `1`: what another serialiser may make of the same value stays the same.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (key, value) in entries {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Number(number) => match number.as_f64().filter(|it| it.fract() == 0.0 && it.abs() < 9e15) {
            Some(whole) => out.push_str(&(whole as i64).to_string()),
            // A double holds whatever is let in, and is written in one way only.
            None => match number.as_f64().filter(|_| !number.is_i64() && !number.is_u64()).and_then(Number::from_f64) {
                Some(double) => out.push_str(double.as_str()),
                None => out.push_str(number.as_str()),
            },
        },
        Value::Null | Value::Bool(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256_of(text: &str) -> [u8; 32] {
        serde_json::from_str::<SubmissionRequest>(text).unwrap().sha256()
    }

    const PLAIN: &str = r#"{"service":"s","context":{"clerk":"a","entity":"b","legal_basis":"c","reason":"d"},
        "subject":{"scheme":"idnp","id":"1"},"data":{"x":1,"y":[1.5,{"a":1,"b":2}]}}"#;

    #[test]
    fn another_serialisation_of_the_same_body_is_the_same_body() {
        let other = r#"{"data":{"y":[1.50,{"b":2,"a":1.0}],"x":1e0},"subject":{"id":"1","scheme":"idnp"},"priority":"ordinary",
            "context":{"reason":"\u0064","legal_basis":"c","entity":"b","clerk":"a"},"attachments":[],"service":"s"}"#;
        assert_eq!(sha256_of(PLAIN), sha256_of(other));
    }

    #[test]
    fn another_body_is_another_body() {
        for (from, to) in [
            ("\"x\":1", "\"x\":2"),
            ("\"x\":1", "\"x\":\"1\""),
            ("[1.5,{\"a\":1,\"b\":2}]", "[{\"a\":1,\"b\":2},1.5]"),
            ("\"clerk\":\"a\"", "\"clerk\":\"e\""),
            ("\"service\":\"s\"", "\"service\":\"s\",\"priority\":\"urgent\""),
            ("\"service\":\"s\"", "\"service\":\"s\",\"expires_at\":\"2030-01-01T00:00:00Z\""),
        ] {
            assert!(PLAIN.contains(from));
            assert_ne!(sha256_of(PLAIN), sha256_of(&PLAIN.replace(from, to)), "{to}");
        }
    }
}
