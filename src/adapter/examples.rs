//! The folders below `<service>/examples/` come in; examples go out, ready to be proved and to be played.
//!
//! | file | what it is |
//! | --- | --- |
//! | `request.json` | a submission |
//! | `wire-request.xml` or `.json` | what it becomes on the wire, before it is sealed; absent if the request has no body |
//! | `wire-answer.xml` or `.json` | what the agency answers; `wire-answer.404.json` if not with status 200 (a SOAP fault: 500) |
//! | `wire-answer.headers.json` | HTTP headers of the answer, by name, if the filter reads them or they say how it is to be read |
//! | `answer.json` | what the filter makes of it: a reading, or null |
//! | `lookup-answer.json` or `.xml`, `lookup.json` | for the effect `lookup`: the same two when the agency is asked afterwards |

use super::{Exchange, Form, Mapped, Reading, TransformInput, folder::entries};
use crate::{
    domain::{
        AgencyName, AttachmentId, AttachmentRef, CallContext, Effect, MessageId, OfficeName, Priority, ServiceName,
        Subject, Submission, SubmissionId, TraceParent, lower_hex,
    },
    json::{self, Rules},
    settings::ConfigFaults,
    soap::{
        self,
        content::{Content, ContentRefusal, HeadersThatCount, TextKind, open_content},
    },
    xml,
};
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};
use uuid::Uuid;

#[derive(Debug)]
pub struct Example {
    pub name: String,
    pub folder: PathBuf,
    pub submission: Submission,
    pub attempt: u32,
    pub message: MessageId,
    pub now: Timestamp,
    /// Of its attachments, in base64.
    pub contents: Vec<Arc<str>>,
    /// As the template makes it; empty if the request has no body.
    pub wire_request: Vec<u8>,
    pub answer: WireReply,
    pub mapped: Mapped,
    pub lookup: Option<(WireReply, Mapped)>,
}

/// What the agency sends back.
#[derive(Clone)]
pub struct WireReply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub(super) file: PathBuf,
}

impl std::fmt::Debug for WireReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireReply")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// `request.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestWritten {
    id: SubmissionId,
    service: ServiceName,
    accepted_at: Timestamp,
    now: Option<Timestamp>,
    traceparent: Option<TraceParent>,
    #[serde(default = "first_attempt")]
    attempt: u32,
    #[serde(default = "first_message")]
    message_id: MessageId,
    context: CallContext,
    subject: Subject,
    #[serde(default)]
    data: Map<String, Value>,
    #[serde(default)]
    priority: Priority,
    office: OfficeName,
    #[serde(default)]
    attachments: Vec<AttachmentWritten>,
}

/// A file whose content is told as text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttachmentWritten {
    name: String,
    media_type: String,
    text: String,
}

fn first_attempt() -> u32 {
    1
}

fn first_message() -> MessageId {
    Uuid::from_u128(1).into()
}

impl Example {
    pub fn input(&self) -> TransformInput<'_> {
        TransformInput {
            submission: &self.submission,
            attempt: self.attempt,
            message: self.message,
            now: self.now,
            contents: Some(&self.contents),
        }
    }
}

/// One folder of an example while it is read.
struct Place<'a> {
    folder: &'a Path,
    files: Vec<(PathBuf, String)>,
    used: Vec<String>,
}

pub(super) fn load(
    agency: &AgencyName,
    operation: &Path,
    service: &ServiceName,
    exchange: &Exchange,
    effect: Effect,
    faults: &mut ConfigFaults,
) -> Vec<Example> {
    let folder = operation.join("examples");
    let mut found = Vec::new();
    for (path, name) in entries(&folder) {
        if path.is_dir() {
            let mut place = Place { folder: &path, files: entries(&path), used: Vec::new() };
            found.extend(place.example(name, agency, service, exchange, effect, faults));
            place.check_files(faults);
        } else if !name.ends_with(".md") {
            faults.add(path, "", "is not used", "put it into the folder of an example, or remove it");
        }
    }
    if !found.iter().any(|example| matches!(example.mapped.reading, Reading::Answered { .. })) && faults.is_empty() {
        let remedy =
            "add a folder with request.json, wire-request, wire-answer and answer.json in which the agency answers";
        faults.add(folder, "", "no example shows a good answer", remedy);
    }
    found
}

impl Place<'_> {
    fn example(
        &mut self,
        name: String,
        agency: &AgencyName,
        service: &ServiceName,
        exchange: &Exchange,
        effect: Effect,
        faults: &mut ConfigFaults,
    ) -> Option<Example> {
        let written: Option<RequestWritten> = self.json("request.json", faults);
        let wire_request = match exchange.template {
            Some(_) => self.bytes(&format!("wire-request.{}", exchange.request_form.extension()), faults),
            None => Some(Vec::new()),
        };
        let answer = self.reply("wire-answer", exchange.answer_form, faults);
        let mapped = self.mapped("answer.json", faults);
        let has_lookup = effect == Effect::Lookup && self.files.iter().any(|(_, name)| name.starts_with("lookup"));
        let lookup = match has_lookup {
            true => {
                Some((self.reply("lookup-answer", exchange.answer_form, faults)?, self.mapped("lookup.json", faults)?))
            }
            false => None,
        };
        let written = written?;
        if written.service != *service {
            faults.add(
                self.folder.join("request.json"),
                "service",
                "is another one than the folder's",
                format!("write {service}"),
            );
        }
        let contents = written.attachments.iter().map(|it| STANDARD.encode(&it.text).into()).collect();
        Some(Example {
            name,
            contents,
            folder: self.folder.to_owned(),
            attempt: written.attempt,
            message: written.message_id,
            now: written.now.unwrap_or(written.accepted_at),
            submission: submission(written, agency, effect),
            wire_request: wire_request?,
            answer: answer?,
            mapped: mapped?,
            lookup,
        })
    }

    fn bytes(&mut self, name: &str, faults: &mut ConfigFaults) -> Option<Vec<u8>> {
        self.used.push(name.to_owned());
        let file = self.folder.join(name);
        let bytes = std::fs::read(&file);
        bytes.map_err(|error| faults.add(&file, "", format!("cannot be read: {error}"), "write the file")).ok()
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, name: &str, faults: &mut ConfigFaults) -> Option<T> {
        let bytes = self.bytes(name, faults)?;
        let value = json::parse(&bytes, Rules::AGENCY).map_err(|error| error.to_string());
        let typed = value.and_then(|value| serde_json::from_value(value).map_err(|error| error.to_string()));
        typed.map_err(|problem| faults.add(self.folder.join(name), "", problem, "mend the file")).ok()
    }

    fn mapped(&mut self, name: &str, faults: &mut ConfigFaults) -> Option<Mapped> {
        let value: Value = self.json(name, faults)?;
        let mapped = Mapped::from_json(Some(value));
        mapped.map_err(|problem| faults.add(self.folder.join(name), "", problem, "write a reading")).ok()
    }

    /// `<stem>.<extension>` or `<stem>.<status>.<extension>`.
    fn reply(&mut self, stem: &str, form: Form, faults: &mut ConfigFaults) -> Option<WireReply> {
        let extension = form.extension();
        let status_of = |name: &str| {
            let middle = name.strip_prefix(stem)?.strip_suffix(extension)?.strip_suffix('.')?;
            if middle.is_empty() { Some(None) } else { middle.strip_prefix('.')?.parse::<u16>().ok().map(Some) }
        };
        let found = self.files.iter().find_map(|(_, name)| Some((name.clone(), status_of(name)?)));
        let Some((name, status)) = found else {
            faults.add(
                self.folder.join(format!("{stem}.{extension}")),
                "",
                "is missing",
                format!("write what the agency answers; with another status than 200 as {stem}.404.{extension}"),
            );
            return None;
        };
        let body = self.bytes(&name, faults)?;
        let file = self.folder.join(name);
        let reply = WireReply { status: 200, headers: self.headers(stem, faults), body, file };
        let status = status.unwrap_or(if reply.is_soap_fault() { 500 } else { 200 });
        Some(WireReply { status, ..reply })
    }

    /// `<stem>.headers.json`.
    fn headers(&mut self, stem: &str, faults: &mut ConfigFaults) -> BTreeMap<String, String> {
        let name = format!("{stem}.headers.json");
        let is_there = self.files.iter().any(|(_, file)| *file == name);
        let headers: BTreeMap<String, String> =
            is_there.then(|| self.json(&name, faults)).flatten().unwrap_or_default();
        for (header, value) in &headers {
            if HeaderName::from_bytes(header.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
                faults.add(self.folder.join(&name), header, "cannot be an HTTP header", "mend name and value");
            }
        }
        headers
    }

    fn check_files(&self, faults: &mut ConfigFaults) {
        for (path, _) in self.files.iter().filter(|(_, name)| !self.used.contains(name) && !name.ends_with(".md")) {
            faults.add(path, "", "is not used", "remove it, or mend its name");
        }
    }
}

/// No example is larger.
const MAX_BYTES: usize = 16 << 20;

impl WireReply {
    /// As the worker opens an answer: no longer compressed, its root part found.
    pub fn content(&self, count: HeadersThatCount) -> Result<Content, ContentRefusal> {
        open_content(&self.header_map(), &self.body.clone().into(), MAX_BYTES, count)
    }

    pub(super) fn header_map(&self) -> HeaderMap {
        let pairs = self.headers.iter().filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
        });
        pairs.collect()
    }

    /// SOAP 1.1 §6.2: a fault comes with status 500.
    fn is_soap_fault(&self) -> bool {
        let Ok(content) = self.content(HeadersThatCount::ALL) else { return false };
        let Ok(read) = content.text(TextKind::Xml) else { return false };
        let Ok(document) = xml::parse(&read.text) else { return false };
        let fault = soap::open(&document).map(|envelope| soap::read_fault(envelope.body, &soap::XmlToJson::default()));
        matches!(fault, Ok(Ok(Some(_))))
    }
}

fn submission(written: RequestWritten, agency: &AgencyName, effect: Effect) -> Submission {
    Submission {
        id: written.id,
        office: written.office,
        service: written.service,
        agency: agency.clone(),
        effect,
        priority: written.priority,
        context: written.context,
        subject: written.subject,
        data: Value::Object(written.data),
        attachments: written.attachments.iter().map(attachment).collect(),
        accepted_at: written.accepted_at,
        expires_at: Timestamp::MAX,
        trace: written.traceparent.unwrap_or_else(TraceParent::fresh),
    }
}

fn attachment(written: &AttachmentWritten) -> AttachmentRef {
    let digest = digest::digest(&digest::SHA256, written.text.as_bytes());
    AttachmentRef {
        id: AttachmentId::from(Uuid::nil()),
        sha256: lower_hex(digest),
        size_bytes: written.text.len() as u64,
        media_type: written.media_type.clone(),
        name: written.name.clone(),
    }
}
