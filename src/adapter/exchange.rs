//! One exchange with an agency: a submission comes in and its wire request goes out; a wire answer comes in and its
//! reading goes out.

use super::{
    Address, BodyOf, Contract, Coverage, Filter, Form, Mapped, Purpose, Reading, Template, WireAnswer,
    attachments::{self, Read, Wanted},
    template_values::seen,
    wire_answer::names_reference,
};
use crate::{
    domain::{CallContext, MessageId, Submission, SubmissionId},
    soap::{self, SoapFault, SoapRefusal, XmlToJson, content::Part},
    xml,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use minijinja::value::Value as Seen;
use roxmltree::{Document, Node};
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// What a template may see.
pub struct TransformInput<'a> {
    pub submission: &'a Submission,
    pub attempt: u32,
    /// Of the message that is made.
    pub message: MessageId,
    pub now: Timestamp,
    /// Of the submission's attachments, in their order and in base64; `None`: they were not read.
    pub contents: Option<&'a [Arc<str>]>,
}

/// A request in the agency's form, not yet sealed.
#[derive(Clone, PartialEq)]
pub struct WireRequest {
    pub method: http::Method,
    pub url: reqwest::Url,
    /// Beside content type, trace and seal: `SOAPAction`, `Accept`, ….
    pub headers: http::HeaderMap,
    /// Empty if there is no body.
    pub media_type: String,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    #[error("template {file}, line {line}: {problem}")]
    Template { file: String, line: u32, problem: String },
    #[error("the request does not fit the agency's contract: {0}")]
    Contract(String),
    /// By its number, from 1. An office would believe that it was sent.
    #[error("template {file}: attachment {number} is read nowhere, neither its `sha256` nor its `base64`")]
    AttachmentUnread { file: String, number: usize },
    /// What it composes then is the same in all else.
    #[error("the template uses the contents of attachments, which were not read")]
    ContentsWanted,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterpretError {
    #[error("filter {file}: {problem}")]
    Filter { file: String, problem: String },
    #[error("filter {file} gave what no reading looks like: {problem}")]
    Shape { file: String, problem: String },
    #[error("filter {file} lets decide what the agency has not signed")]
    UnsignedDecides { file: String },
    #[error("filter {file} gives our own reference in the place of the one that the agency names")]
    GivesBack { file: String },
}

/// Template, filter and address of one kind of exchange. Everything here is pure: it reads no clock and no file.
#[derive(Debug)]
pub struct Exchange {
    pub(super) method: http::Method,
    pub(super) address: Address,
    pub(super) headers: http::HeaderMap,
    pub(super) media_type: String,
    /// `None`: the request has no body.
    pub(super) template: Option<Template>,
    pub(super) request_form: Form,
    pub(super) answer_form: Form,
    pub(super) contract: Option<Contract>,
    pub(super) filter: Filter,
    pub(super) names: XmlToJson,
    /// Relative to the agency's folder, for errors.
    pub(super) template_file: String,
    pub(super) filter_file: String,
    /// `not_seen` is a possible reading of a lookup only.
    pub(super) purpose: Purpose,
    /// Of the agency's answers.
    pub(super) coverage: Coverage,
}

impl Exchange {
    pub fn compose(&self, input: &TransformInput<'_>) -> Result<WireRequest, ComposeError> {
        self.compose_and_look(input, |_| ()).map(|(request, _)| request)
    }

    /// `look` is shown the tree of the body, if that is XML, so that nobody has to parse it once more.
    pub fn compose_and_look<T>(
        &self,
        input: &TransformInput<'_>,
        look: impl FnOnce(&Document<'_>) -> T,
    ) -> Result<(WireRequest, Option<T>), ComposeError> {
        let (body, seen) = match &self.template {
            None => (Vec::new(), None),
            Some(template) => {
                let body = self.body(template, input)?;
                let seen = self.check_body(&body, look)?;
                (body, seen)
            }
        };
        let request = WireRequest {
            method: self.method.clone(),
            url: self.address.at(input.submission.id),
            headers: self.headers.clone(),
            media_type: self.media_type.clone(),
            body,
        };
        Ok((request, seen))
    }

    /// `reference`: ours, for filters that compare.
    pub fn interpret(&self, answer: &WireAnswer, reference: &str) -> Result<Mapped, InterpretError> {
        let mapped = self.map(answer, reference)?;
        let names_unsigned = self.coverage.is_signed() && self.filter.source().contains("unsigned");
        if names_unsigned && !is_same_but_for_text(&mapped, &self.map(&answer.without_unsigned(), reference)?) {
            return Err(InterpretError::UnsignedDecides { file: self.filter_file.clone() });
        }
        if names_reference(self.filter.source()) && self.gives_back(answer, reference, &mapped) {
            return Err(InterpretError::GivesBack { file: self.filter_file.clone() });
        }
        Ok(mapped)
    }

    /// Whether the filter found every answer to be ours, because it gives the reference that it was given.
    fn gives_back(&self, answer: &WireAnswer, reference: &str, mapped: &Mapped) -> bool {
        let names = |mapped: &Mapped, reference: &str| {
            let named =
                mapped.correlation.reference.as_ref().and_then(|named| named.trim().parse::<SubmissionId>().ok());
            named.is_some_and(|named| reference.parse() == Ok(named))
        };
        let nobodys = Uuid::nil().to_string();
        names(mapped, reference) && self.map(answer, &nobodys).is_ok_and(|other| names(&other, &nobodys))
    }

    fn map(&self, answer: &WireAnswer, reference: &str) -> Result<Mapped, InterpretError> {
        let output = self.filter.run(&answer.seen(reference, self.filter.source()));
        let output = output.map_err(|problem| InterpretError::Filter { file: self.filter_file.clone(), problem })?;
        let shape =
            |problem: &str| InterpretError::Shape { file: self.filter_file.clone(), problem: problem.to_owned() };
        let mapped = Mapped::from_json(output).map_err(shape)?;
        match mapped.reading {
            Reading::NotSeen if self.purpose != Purpose::Lookup => Err(shape("only a lookup may say not_seen")),
            _ => Ok(mapped),
        }
    }

    /// What the signature of its answers covers.
    pub fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// Whether the filter may bind an answer by the digest of our request.
    pub fn binds_by_digest(&self) -> bool {
        self.filter.source().contains("request_digest")
    }

    /// Whether an answer may be bound to the one message that it answers, and not only to our reference.
    pub fn binds_to_message(&self, is_sealed_anew: bool) -> bool {
        let by_digest = self.binds_by_digest() && self.body_of(is_sealed_anew) == BodyOf::Message;
        self.filter.source().contains("message_id") || by_digest
    }

    /// By what the template looks at. `is_sealed_anew`: no two messages of ours have the same digest.
    pub fn body_of(&self, is_sealed_anew: bool) -> BodyOf {
        match &self.template {
            None => BodyOf::NoBody,
            Some(_) if is_sealed_anew || self.reads("message_id") => BodyOf::Message,
            Some(_) if self.reads("reference") => BodyOf::Submission,
            Some(_) => BodyOf::NotUnique,
        }
    }

    /// Whether the filter may read a fault of the agency's.
    pub fn may_say_that_nothing_was_done(&self) -> bool {
        self.filter.source().contains("transient")
    }

    /// Whether the filter looks at headers, which then count as a part of the answer.
    pub fn reads_headers(&self) -> bool {
        self.filter.source().contains("headers")
    }

    /// Whether the filter looks at what was sent beside the root of a message in parts.
    pub fn reads_parts(&self) -> bool {
        self.filter.source().contains("parts")
    }

    /// Whether it looks at them where they are: what the agency's signature does not cover is `.unsigned.parts`.
    pub fn finds_parts(&self) -> bool {
        self.reads_parts() && (self.coverage.has_parts() || self.filter.source().contains("unsigned"))
    }

    /// The filter's file, if it looks for parts where none can be.
    pub(super) fn overlooks_parts(&self) -> Option<&str> {
        let looks_in_vain = self.filter.source().contains(".parts") && !self.finds_parts();
        looks_in_vain.then_some(self.filter_file.as_str())
    }

    /// As the filter sees them; their contents only if its text names them.
    pub fn seen_parts(&self, parts: &[&Part]) -> Vec<Value> {
        let seen = |part: &&Part| {
            let facts = json!({"id": part.id, "media_type": part.media_type.essence, "size_bytes": part.content.len()});
            match facts {
                Value::Object(mut facts) if self.filter.source().contains("base64") => {
                    facts.insert("base64".to_owned(), STANDARD.encode(&part.content).into());
                    facts.into()
                }
                facts => facts,
            }
        };
        if self.reads_parts() { parts.iter().map(seen).collect() } else { Vec::new() }
    }

    /// What the answer must be.
    pub fn expects(&self) -> Form {
        self.answer_form
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the template looks at this variable.
    pub fn reads(&self, variable: &str) -> bool {
        self.template.as_ref().is_some_and(|template| template.reads(variable))
    }

    /// The form of the request's body.
    pub fn request_form(&self) -> Form {
        self.request_form
    }

    /// Of the request's body; empty if there is none.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    pub fn method(&self) -> &http::Method {
        &self.method
    }

    pub fn headers(&self) -> &http::HeaderMap {
        &self.headers
    }

    /// The content of a SOAP Body (after its signature was verified: the very node that was) in this adapter's prefixes, and
    /// the blocks of its header, apart by whether the signature covers them.
    pub fn answer_of_envelope<'a, 'input: 'a>(
        &self,
        body: Node<'a, 'input>,
        headers: &[Node<'a, 'input>],
        is_vouched: impl Fn(&Node<'a, 'input>) -> bool,
    ) -> Result<WireAnswer, SoapRefusal> {
        let soap_fault = soap::read_fault(body, &self.names)?;
        let content = if soap_fault.is_some() { json!(null) } else { self.names.children(body)? };
        let mut answer = WireAnswer { soap_fault, ..WireAnswer::of_body(content) };
        if self.reads_headers() {
            let (vouched, unsigned): (Vec<_>, Vec<_>) = headers.iter().partition(|node| is_vouched(node));
            answer.vouched.soap_headers = self.names.header_blocks(vouched.into_iter())?;
            answer.unsigned.soap_headers = self.names.header_blocks(unsigned.into_iter())?;
        }
        Ok(answer)
    }

    /// The fault in a Body of which nothing was verified.
    pub fn fault_in(&self, body: Node<'_, '_>) -> Option<SoapFault> {
        soap::read_fault(body, &self.names).ok().flatten()
    }

    /// The root of an XML answer that is no SOAP, in this adapter's prefixes, under its own name.
    pub fn answer_of_root(&self, document: &Document<'_>) -> Result<WireAnswer, SoapRefusal> {
        Ok(WireAnswer::of_body(self.names.children(document.root())?))
    }

    fn body(&self, template: &Template, input: &TransformInput<'_>) -> Result<Vec<u8>, ComposeError> {
        let (wanted, read) = (Wanted::default(), Read::of(&input.submission.attachments));
        let rendered = template.render_seen(template_input(input, &wanted, &read));
        if wanted.is_told() {
            return Err(ComposeError::ContentsWanted);
        }
        let body = rendered.map_err(|fault| self.template_fault(fault.line, fault.problem))?;
        if let Some(number) = read.first_unread().filter(|_| self.purpose == Purpose::Submit) {
            return Err(ComposeError::AttachmentUnread { file: self.template_file.clone(), number });
        }
        Ok(body)
    }

    fn check_body<T>(&self, body: &[u8], look: impl FnOnce(&Document<'_>) -> T) -> Result<Option<T>, ComposeError> {
        if self.request_form != Form::Xml {
            return Ok(None);
        }
        let document = xml::decode(body).and_then(xml::parse);
        let document = document.map_err(|refusal| self.template_fault(0, format!("what it makes: {refusal}")))?;
        if let Some(contract) = &self.contract {
            contract.check(&document).map_err(ComposeError::Contract)?;
        }
        Ok(Some(look(&document)))
    }

    fn template_fault(&self, line: u32, problem: String) -> ComposeError {
        ComposeError::Template { file: self.template_file.clone(), line, problem }
    }
}

/// The text of a fault is for operators: it may quote what nobody has signed.
fn is_same_but_for_text(one: &Mapped, other: &Mapped) -> bool {
    let is_same = match (&one.reading, &other.reading) {
        (
            Reading::Failed { code, transient, .. },
            Reading::Failed { code: other_code, transient: other_transient, .. },
        ) => (code, transient) == (other_code, other_transient),
        (one, other) => one == other,
    };
    is_same && one.correlation == other.correlation
}

fn template_input(input: &TransformInput<'_>, wanted: &Wanted, read: &Read) -> Seen {
    let submission = input.submission;
    let CallContext { clerk, entity, legal_basis, reason } = &submission.context;
    let context = [("clerk", clerk), ("entity", entity), ("legal_basis", legal_basis), ("reason", reason)];
    let subject = [("scheme", &submission.subject.scheme), ("id", &submission.subject.id)];
    Seen::from_pairs([
        ("reference", submission.id.to_string().into()),
        ("attempt", input.attempt.into()),
        ("message_id", input.message.to_string().into()),
        ("now", input.now.to_string().into()),
        ("accepted_at", submission.accepted_at.to_string().into()),
        ("service", submission.service.as_str().into()),
        ("office", submission.office.as_str().into()),
        ("trace_id", submission.trace.trace_id().into()),
        ("context", texts(context)),
        ("subject", texts(subject)),
        ("data", seen(&submission.data)),
        ("attachments", attachments::list(&submission.attachments, input.contents, wanted, read)),
    ])
}

fn texts<const N: usize>(members: [(&str, &String); N]) -> Seen {
    Seen::from_pairs(members.map(|(name, text)| (name, text.as_str())))
}
