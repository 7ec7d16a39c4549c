//! The folders below `<service>/examples/` come in; examples go out, and everything in which an adapter breaks its own.
//!
//! | file | what it is |
//! | --- | --- |
//! | `request.json` | a submission |
//! | `wire-request.xml` or `.json` | what it becomes on the wire, before it is sealed; absent if the request has no body |
//! | `wire-answer.xml` or `.json` | what the agency answers; `wire-answer.404.json` if not with status 200 (a SOAP fault: 500) |
//! | `answer.json` | what the filter makes of it: a reading, or null |
//! | `lookup-answer.json` or `.xml`, `lookup.json` | for the effect `lookup`: the same two when the agency is asked afterwards |

use super::{Adapter, Exchange, Form, Operation, Reading, TransformInput, WireAnswer, load::entries, sameness};
use crate::{
    catalogue::{Catalogue, Schema},
    domain::{
        AgencyName, AttachmentRef, CallContext, Effect, OfficeName, Priority, ServiceName, Subject, Submission,
        SubmissionId, TraceParent,
    },
    settings::{ConfigFault, ConfigFaults},
    trust::SignedHeaderAsWritten,
    wire, xml,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Example {
    pub name: String,
    pub folder: PathBuf,
    pub submission: Submission,
    pub attempt: u32,
    pub now: Timestamp,
    /// As the template makes it; empty if the request has no body.
    pub wire_request: Vec<u8>,
    pub answer: WireReply,
    pub reading: Reading,
    pub lookup: Option<(WireReply, Reading)>,
}

/// What the agency sends back.
#[derive(Clone)]
pub struct WireReply {
    pub status: u16,
    pub body: Vec<u8>,
    file: PathBuf,
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
    context: CallContext,
    subject: Subject,
    #[serde(default)]
    data: Map<String, Value>,
    #[serde(default)]
    priority: Priority,
    office: OfficeName,
}

fn first_attempt() -> u32 {
    1
}

impl Example {
    pub fn input(&self) -> TransformInput<'_> {
        TransformInput { submission: &self.submission, attempt: self.attempt, now: self.now, attachments: &[] }
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
    if !found.iter().any(|example| matches!(example.reading, Reading::Answered { .. })) && faults.is_empty() {
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
        let reading = self.reading("answer.json", faults);
        let has_lookup = effect == Effect::Lookup && self.files.iter().any(|(_, name)| name.starts_with("lookup"));
        let lookup = match has_lookup {
            true => {
                Some((self.reply("lookup-answer", exchange.answer_form, faults)?, self.reading("lookup.json", faults)?))
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
        Some(Example {
            name,
            folder: self.folder.to_owned(),
            attempt: written.attempt,
            now: written.now.unwrap_or(written.accepted_at),
            submission: submission(written, agency, effect),
            wire_request: wire_request?,
            answer: answer?,
            reading: reading?,
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
        let value = wire::strict_json(&bytes).map_err(|error| error.to_string());
        let typed = value.and_then(|value| serde_json::from_value(value).map_err(|error| error.to_string()));
        typed.map_err(|problem| faults.add(self.folder.join(name), "", problem, "mend the file")).ok()
    }

    fn reading(&mut self, name: &str, faults: &mut ConfigFaults) -> Option<Reading> {
        let value: Value = self.json(name, faults)?;
        let reading = Reading::from_json(Some(value));
        reading.map_err(|problem| faults.add(self.folder.join(name), "", problem, "write a reading")).ok()
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
                "write what the agency answers",
            );
            return None;
        };
        let body = self.bytes(&name, faults)?;
        let status = status.unwrap_or(if is_soap_fault(&body) { 500 } else { 200 });
        Some(WireReply { status, body, file: self.folder.join(name) })
    }

    fn check_files(&self, faults: &mut ConfigFaults) {
        for (path, _) in self.files.iter().filter(|(_, name)| !self.used.contains(name) && !name.ends_with(".md")) {
            faults.add(path, "", "is not used", "remove it, or mend its name");
        }
    }
}

/// SOAP 1.1 §6.2: a fault comes with status 500.
fn is_soap_fault(body: &[u8]) -> bool {
    let Ok(document) = xml::decode(body).and_then(xml::parse) else { return false };
    let fault = wire::open(&document).map(|envelope| wire::read_fault(envelope.body, &wire::XmlToJson::default()));
    matches!(fault, Ok(Ok(Some(_))))
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
        attachments: Vec::<AttachmentRef>::new(),
        accepted_at: written.accepted_at,
        expires_at: Timestamp::MAX,
        trace: written.traceparent.unwrap_or_else(TraceParent::fresh),
    }
}

impl Adapter {
    /// Runs every example of every operation both ways.
    pub fn prove_examples(&self, catalogue: &Catalogue) -> Vec<ConfigFault> {
        let mut faults = ConfigFaults::default();
        for operation in self.operations.values() {
            let service = catalogue.get(&operation.service);
            for example in &operation.examples {
                let mut proof = Proof { operation, example, faults: &mut faults };
                proof.signed_headers(self.seal.sign_headers.as_deref().unwrap_or_default());
                proof.request(service.map(|service| &service.request_schema));
                proof.answer(service.map(|service| &service.answer_schema));
                proof.lookup(service.map(|service| &service.answer_schema));
            }
        }
        faults.0
    }
}

struct Proof<'a> {
    operation: &'a Operation,
    example: &'a Example,
    faults: &'a mut ConfigFaults,
}

impl Proof<'_> {
    fn request(&mut self, schema: Option<&Schema>) {
        let (exchange, example) = (&self.operation.request, self.example);
        self.fits(schema, &example.submission.data, "request.json", "data");
        let composed = match exchange.compose(&example.input()) {
            Ok(composed) => composed,
            Err(error) => return self.fault("request.json", error, "mend the template, the schema or the example"),
        };
        let form = exchange.request_form;
        let file = format!("wire-request.{}", form.extension());
        match (sameness::leaves(form, &example.wire_request), sameness::leaves(form, &composed.body)) {
            (Err(problem), _) => self.fault(&file, problem, "mend the example"),
            (Ok(_), Err(problem)) => self.fault(&file, format!("the template makes: {problem}"), "mend the template"),
            (Ok(expected), Ok(found)) => {
                if let Some(difference) = sameness::difference(&expected, &found) {
                    self.fault(
                        &file,
                        format!("the template makes another message: {difference}"),
                        "mend one of the two",
                    );
                }
            }
        }
    }

    /// A header that is to be signed must stand in the envelope exactly once.
    fn signed_headers(&mut self, signed: &[SignedHeaderAsWritten]) {
        let Ok(document) = xml::decode(&self.example.wire_request).and_then(xml::parse) else { return };
        let Ok(envelope) = wire::open(&document) else { return };
        for header in signed {
            let name = (header.namespace.as_str(), header.name.as_str());
            if envelope.headers.iter().filter(|node| node.has_tag_name(name)).count() != 1 {
                let problem = format!("the header {} is to be signed and does not stand there once", header.name);
                self.fault("wire-request.xml", problem, "mend the template, or seal.sign_headers in agency.toml");
            }
        }
    }

    fn answer(&mut self, schema: Option<&Schema>) {
        let example = self.example;
        self.reads(&self.operation.request, &example.answer, &example.reading, "answer.json");
        if let Reading::Answered { answer, .. } = &example.reading {
            self.fits(schema, answer, "answer.json", "answer");
        }
        let is_answered = matches!(example.reading, Reading::Answered { .. } | Reading::Refused { .. });
        if self.operation.correlates && is_answered && example.reading.reference().is_none() {
            let remedy = "have the filter give the reference that the agency echoes, or set correlates = false";
            self.fault("answer.json", "names no reference, though the operation correlates", remedy);
        }
    }

    fn lookup(&mut self, schema: Option<&Schema>) {
        let Some((exchange, (reply, reading))) = self.operation.lookup.as_ref().zip(self.example.lookup.as_ref())
        else {
            return;
        };
        if let Err(error) = exchange.compose(&self.example.input()) {
            self.fault("request.json", error, "mend the lookup's template");
        }
        self.reads(exchange, reply, reading, "lookup.json");
        if let Reading::Answered { answer, .. } = reading {
            self.fits(schema, answer, "lookup.json", "answer");
        }
    }

    fn reads(&mut self, exchange: &Exchange, reply: &WireReply, expected: &Reading, file: &str) {
        let answer = match exchange.answer_of_bytes(reply.status, &reply.body) {
            Ok(answer) => answer,
            Err(problem) => return self.faults.add(&reply.file, "", problem, "mend the example"),
        };
        match exchange.interpret(&answer, &self.example.submission.id.to_string()) {
            Err(error) => self.fault(file, error, "mend the filter"),
            Ok(reading) if reading != *expected => {
                let place = json_difference(expected, &reading);
                self.fault(file, format!("the filter reads another thing: {place}"), "mend the filter or the example");
            }
            Ok(_) => {}
        }
    }

    fn fits(&mut self, schema: Option<&Schema>, value: &Value, file: &str, key: &str) {
        for fault in schema.map(|schema| schema.faults(value)).unwrap_or_default() {
            let key = format!("{key}{}", fault.pointer.replace('/', "."));
            self.faults.add(
                self.example.folder.join(file),
                key,
                fault.problem,
                "mend the example, or the service's schema",
            );
        }
    }

    fn fault(&mut self, file: &str, problem: impl std::fmt::Display, remedy: &str) {
        self.faults.add(self.example.folder.join(file), "", problem, remedy);
    }
}

fn json_difference(expected: &Reading, found: &Reading) -> String {
    let leaves = |reading: &Reading| sameness::leaves(Form::Json, reading.to_json().to_string().as_bytes());
    match (leaves(expected), leaves(found)) {
        (Ok(expected), Ok(found)) => sameness::difference(&expected, &found).unwrap_or_default(),
        (Err(problem), _) | (_, Err(problem)) => problem,
    }
}

impl Exchange {
    /// An answer as it would be read if nothing about it had to be verified: for examples.
    fn answer_of_bytes(&self, status: u16, bytes: &[u8]) -> Result<WireAnswer, String> {
        if self.answer_form == Form::Json || bytes.is_empty() {
            return WireAnswer::from_json(status, bytes).map_err(|error| error.to_string());
        }
        let document = xml::decode(bytes).and_then(xml::parse).map_err(|refusal| refusal.to_string())?;
        let answer = match wire::open(&document) {
            Ok(envelope) => self.answer_of_body(status, envelope.body),
            Err(_) => self.answer_of_root(status, &document),
        };
        answer.map_err(|refusal| refusal.to_string())
    }
}
