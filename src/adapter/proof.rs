//! An adapter and its examples come in; everything in which it breaks them goes out.

use super::{
    Adapter, Correlates, Coverage, Example, Exchange, Form, InterpretError, Mapped, Operation, Reading, WireAnswer,
    WireReply, attachments_proof::prove_attachments, sameness,
};
use crate::{
    catalogue::{Catalogue, Schema, Service},
    settings::{ConfigFault, ConfigFaults},
    soap::{self, content::TextKind},
    trust::{SealKind, SignedHeaderAsWritten},
    xml,
};
use serde_json::Value;

/// Runs every example of every operation both ways.
pub(super) fn prove_examples(adapter: &Adapter, catalogue: &Catalogue) -> Vec<ConfigFault> {
    let mut faults = ConfigFaults::default();
    for operation in adapter.operations.values() {
        let service = catalogue.get(&operation.service);
        if let Some(service) = service {
            prove_attachments(operation, &service.attachments, &adapter.folder, &mut faults);
        }
        for example in &operation.examples {
            let is_sealed_anew = adapter.seal.kind == SealKind::Wss;
            let mut proof = Proof { operation, example, is_sealed_anew, faults: &mut faults };
            proof.signed_headers(adapter.seal.sign_headers.as_deref().unwrap_or_default());
            proof.request(service);
            proof.answer(service.map(|service| &service.answer_schema));
            proof.lookup(service.map(|service| &service.answer_schema));
        }
    }
    faults.0
}

struct Proof<'a> {
    operation: &'a Operation,
    example: &'a Example,
    /// Whether no two messages of ours have the same digest.
    is_sealed_anew: bool,
    faults: &'a mut ConfigFaults,
}

impl Proof<'_> {
    fn request(&mut self, service: Option<&Service>) {
        let (exchange, example) = (&self.operation.request, self.example);
        self.subject(service);
        self.fits(service.map(|service| &service.request_schema), &example.submission.data, "request.json", "data");
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

    fn subject(&mut self, service: Option<&Service>) {
        let rule = service.and_then(|service| service.subject.as_ref());
        let Some(fault) = rule.and_then(|rule| rule.fault(&self.example.submission.subject)) else { return };
        let key = fault.pointer.trim_start_matches('/').replace('/', ".");
        let remedy = "mend the example, or [subject] in the service's service.toml";
        self.faults.add(self.example.folder.join("request.json"), key, fault.problem, remedy);
    }

    /// A header that is to be signed must stand in the envelope exactly once.
    fn signed_headers(&mut self, signed: &[SignedHeaderAsWritten]) {
        let Ok(document) = xml::decode(&self.example.wire_request).and_then(xml::parse) else { return };
        let Ok(envelope) = soap::open(&document) else { return };
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
        self.reads(&self.operation.request, &example.answer, &example.mapped, "answer.json");
        if let Reading::Answered { answer } = &example.mapped.reading {
            self.fits(schema, answer, "answer.json", "answer");
        }
        self.is_bound(&example.mapped, &self.operation.request, "answer.json");
    }

    fn lookup(&mut self, schema: Option<&Schema>) {
        let Some((exchange, (reply, mapped))) = self.operation.lookup.as_ref().zip(self.example.lookup.as_ref()) else {
            return;
        };
        if let Err(error) = exchange.compose(&self.example.input()) {
            self.fault("request.json", error, "mend the lookup's template");
        }
        self.reads(exchange, reply, mapped, "lookup.json");
        if let Reading::Answered { answer } = &mapped.reading {
            self.fits(schema, answer, "lookup.json", "answer");
        }
        self.is_bound(mapped, exchange, "lookup.json");
    }

    /// What would count must say to which request it belongs.
    fn is_bound(&mut self, mapped: &Mapped, exchange: &Exchange, file: &str) {
        let counts = match mapped.reading {
            Reading::Answered { .. } | Reading::Refused { .. } | Reading::Waiting => {
                self.operation.correlates == Correlates::Yes
            }
            // "Never seen" would have it sent again.
            Reading::NotSeen => true,
            Reading::Failed { .. } | Reading::Unmapped => false,
        };
        let (effect, body) = (self.operation.effect, exchange.body_of(self.is_sealed_anew));
        if counts && !mapped.correlation.binds(effect, body) {
            let by_digest = if body.binds_by_digest(effect) { ", or request_digest" } else { "" };
            let remedy = format!(
                "have the filter give the reference that the agency repeats{by_digest}; for a read, subject is enough. If the \
                 agency's contract has nothing of the kind: correlates = {{ cannot = \"why\" }}"
            );
            self.fault(file, "names no reference, and nothing else binds it to its request", &remedy);
        }
        let example = &self.example.submission;
        let is_anothers = |named: &Option<String>, ours: &str| named.as_ref().is_some_and(|named| named != ours);
        if is_anothers(&mapped.correlation.reference, &example.id.to_string())
            || is_anothers(&mapped.correlation.subject, &example.subject.id)
        {
            let problem = "names another reference or subject than the example's request.json";
            self.fault(file, problem, "mend the example");
        }
    }

    fn reads(&mut self, exchange: &Exchange, reply: &WireReply, expected: &Mapped, file: &str) {
        let answer = match answer_of_reply(exchange, reply) {
            Ok(answer) => answer,
            Err(problem) => return self.faults.add(&reply.file, "", problem, "mend the example"),
        };
        match exchange.interpret(&answer, &self.example.submission.id.to_string()) {
            Err(error @ InterpretError::GivesBack { .. }) => {
                self.fault(file, error, "take `reference` from the answer");
            }
            Err(error) => self.fault(file, error, "mend the filter"),
            Ok(mapped) => {
                if let Some(place) = json_difference(expected, &mapped) {
                    let problem = format!("the filter reads another thing: {place}");
                    self.fault(file, problem, "mend the filter or the example");
                }
            }
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

fn json_difference(expected: &Mapped, found: &Mapped) -> Option<String> {
    let leaves = |mapped: &Mapped| sameness::leaves(Form::Json, mapped.to_json().to_string().as_bytes());
    match (leaves(expected), leaves(found)) {
        (Ok(expected), Ok(found)) => sameness::difference(&expected, &found),
        (Err(problem), _) | (_, Err(problem)) => Some(problem),
    }
}

/// An answer as it would be read if all about it had been verified: for examples.
fn answer_of_reply(exchange: &Exchange, reply: &WireReply) -> Result<WireAnswer, String> {
    let headers = reply.header_map();
    let covered: Vec<_> = match exchange.coverage {
        Coverage::Envelope | Coverage::Body => Vec::new(),
        Coverage::Unsigned | Coverage::BodyAndStatus => {
            let names = headers.keys().map(|name| name.as_str().to_owned());
            names.chain(["@status".to_owned()]).collect()
        }
    };
    let answer = answer_of_content(exchange, reply)?;
    Ok(answer.with_head(exchange.coverage, reply.status, &headers, &covered))
}

fn answer_of_content(exchange: &Exchange, reply: &WireReply) -> Result<WireAnswer, String> {
    let content = reply.content(exchange.coverage.headers_that_count()).map_err(|refusal| refusal.to_string())?;
    // As on the road: what is signed as bytes is what it is, white space too.
    let is_empty = match exchange.coverage {
        Coverage::Unsigned | Coverage::Envelope => content.is_blank(),
        Coverage::Body | Coverage::BodyAndStatus => content.whole.is_empty(),
    };
    if is_empty {
        return Ok(WireAnswer::of_body(Value::Null));
    }
    let kind = if exchange.answer_form == Form::Json { TextKind::Json } else { TextKind::Xml };
    let read = content.text(kind).map_err(|refusal| refusal.to_string())?;
    let mut answer = match kind {
        TextKind::Json => WireAnswer::from_json(read.text.as_bytes()).map_err(|error| error.to_string())?,
        TextKind::Xml => answer_of_xml(exchange, &read.text)?,
    };
    let parts = exchange.seen_parts(&read.parts);
    match exchange.coverage.has_parts() {
        true => answer.vouched.parts = parts,
        false => answer.unsigned.parts = parts,
    }
    Ok(answer)
}

fn answer_of_xml(exchange: &Exchange, text: &str) -> Result<WireAnswer, String> {
    let document = xml::parse(text).map_err(|refusal| refusal.to_string())?;
    let answer = match soap::open(&document) {
        Ok(envelope) => exchange.answer_of_envelope(envelope.body, &envelope.headers, |_| true),
        Err(_) => exchange.answer_of_root(&document),
    };
    answer.map_err(|refusal| refusal.to_string())
}
