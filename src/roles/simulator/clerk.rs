//! An opened request comes in; what the simulated agency's clerk makes of it goes out: the operation, and the example
//! whose answer fits best.

use super::{ledger::Ledger, seal::Opened};
use crate::{
    adapter::{Adapter, Example, Form, Leaf, Operation, Protocol, Reading, WireReply, leaves},
    wire, xml,
};
use http::{HeaderMap, Method, Uri};

/// The request, understood.
pub(super) struct Asked<'a> {
    pub operation: &'a Operation,
    pub example: &'a Example,
    pub is_lookup: bool,
    /// Ours, where the request carries it.
    pub reference: Option<String>,
    subject: Option<String>,
}

/// An answer before it is sealed.
pub(super) struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    pub form: Form,
}

pub(super) fn understand<'a>(
    adapter: &'a Adapter,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    opened: Opened,
) -> Result<Asked<'a>, String> {
    if let Some(asked) = lookup(adapter, method, uri) {
        return Ok(asked);
    }
    let operations = adapter.operations.values();
    let operation = match (&opened, adapter.protocol) {
        (Opened::Soap { element, .. }, Protocol::Soap11 | Protocol::Soap12) => operations
            .filter(|operation| element_of(operation).as_ref() == Some(element))
            .find(|operation| operation.request.headers().get("soapaction") == headers.get("soapaction"))
            .ok_or("there is no such operation: element and SOAPAction must be those of one"),
        (Opened::Rest { .. }, Protocol::Rest) => operations
            .filter(|operation| operation.request.method() == method)
            .find(|operation| operation.request.address().reference_in(&path_of(uri)).is_some())
            .ok_or("there is no such address"),
        (Opened::Soap { .. } | Opened::Rest { .. }, _) => Err("the message is of another protocol"),
    }?;
    let request = &operation.request;
    let media_type = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !request.media_type().eq_ignore_ascii_case(media_type) {
        return Err(format!("the content type must be {}", request.media_type()));
    }
    let asked = opened.leaves(request.request_form())?;
    choose(operation, &asked).ok_or_else(|| "the operation has no example of a good answer".to_owned())
}

/// A question by our reference.
fn lookup<'a>(adapter: &'a Adapter, method: &Method, uri: &Uri) -> Option<Asked<'a>> {
    adapter.operations.values().find_map(|operation| {
        let lookup = operation.lookup.as_ref().filter(|lookup| lookup.method() == method)?;
        let reference = lookup.address().reference_in(&path_of(uri)).filter(|reference| !reference.is_empty())?;
        let example = operation.examples.iter().find(|example| example.lookup.is_some())?;
        Some(Asked { operation, example, is_lookup: true, reference: Some(reference), subject: None })
    })
}

/// The example with the same texts; else the one about the same subject; else the first good one. What differs from one
/// request to the next (reference, times, trace, who asks) does not count.
fn choose<'a>(operation: &'a Operation, asked: &[Leaf]) -> Option<Asked<'a>> {
    let form = operation.request.request_form();
    let known: Vec<_> = operation
        .examples
        .iter()
        .filter_map(|example| Some((example, leaves(form, &example.wire_request).ok()?)))
        .collect();
    let found = |example: &Example, leaves: &[Leaf], text: &str| {
        let place = leaves.iter().find(|leaf| leaf.text == text).map(|leaf| leaf.path.clone());
        let _ = example;
        asked.iter().find(|leaf| Some(&leaf.path) == place.as_ref()).map(|leaf| leaf.text.clone())
    };
    let is_same = |(example, leaves): &&(&Example, Vec<Leaf>)| {
        let fixed = |all: &[Leaf], of: &[Leaf]| -> Vec<Leaf> {
            let pairs = all.iter().zip(of).filter(|(_, known)| !is_volatile(example, &known.text));
            pairs.map(|(leaf, _)| leaf.clone()).collect()
        };
        leaves.len() == asked.len() && fixed(asked, leaves) == fixed(leaves, leaves)
    };
    let is_about_same = |(example, leaves): &&(&Example, Vec<Leaf>)| {
        found(example, leaves, &example.submission.subject.id).as_ref() == Some(&example.submission.subject.id)
    };
    let is_good = |(example, _): &&(&Example, Vec<Leaf>)| matches!(example.reading, Reading::Answered { .. });
    let chosen = known.iter().find(is_same).or(known.iter().find(is_about_same)).or(known.iter().find(is_good));
    let (example, leaves) = chosen?;
    let reference = found(example, leaves, &example.submission.id.to_string());
    let subject = found(example, leaves, &example.submission.subject.id);
    Some(Asked { operation, example, is_lookup: false, reference, subject })
}

fn is_volatile(example: &Example, text: &str) -> bool {
    let submission = &example.submission;
    let context = &submission.context;
    [
        submission.id.to_string().as_str(),
        &example.now.to_string(),
        &submission.accepted_at.to_string(),
        &submission.trace.trace_id(),
        submission.office.as_str(),
        &context.clerk,
        &context.entity,
        &context.legal_basis,
        &context.reason,
    ]
    .contains(&text)
}

impl Asked<'_> {
    /// Whether the agency does something: a refusal or a fault changes nothing.
    pub fn has_effect(&self) -> bool {
        !self.is_lookup && matches!(self.example.reading, Reading::Answered { .. } | Reading::Waiting { .. })
    }

    /// The example's answer, about this request and this subject. A question is answered from the ledger.
    pub fn reply(&self, ledger: &Ledger) -> Result<Reply, String> {
        if !self.is_lookup {
            return Ok(self.in_place(&self.example.answer, self.example, self.operation.request.expects()));
        }
        let is_known = self.reference.as_ref().is_some_and(|reference| ledger.has(&self.operation.service, reference));
        let fits = |reading: &Reading| match is_known {
            true => matches!(reading, Reading::Answered { .. }),
            false => *reading == Reading::NotSeen,
        };
        let shown = self.operation.examples.iter().find_map(|example| {
            let (reply, reading) = example.lookup.as_ref()?;
            fits(reading).then_some((example, reply))
        });
        let (example, reply) = shown.ok_or("no example shows this answer to a question")?;
        let form = self.operation.lookup.as_ref().map_or(Form::Json, |lookup| lookup.expects());
        Ok(self.in_place(reply, example, form))
    }

    /// This request's reference and subject stand where the example's own stood.
    fn in_place(&self, reply: &WireReply, example: &Example, form: Form) -> Reply {
        let mut text = String::from_utf8_lossy(&reply.body).into_owned();
        let pairs = [
            (example.submission.id.to_string(), &self.reference),
            (example.submission.subject.id.clone(), &self.subject),
        ];
        for (own, theirs) in pairs {
            if let Some(theirs) = theirs {
                text = text.replace(&own, &escaped(form, theirs));
            }
        }
        Reply { status: reply.status, body: text.into_bytes(), form }
    }
}

impl Reply {
    /// The same answer, as if it belonged to another request.
    pub fn about_another(mut self, reference: Option<&str>) -> Self {
        let other = uuid::Uuid::new_v4().to_string();
        let text = String::from_utf8_lossy(&self.body).into_owned();
        self.body = reference.map_or(text.clone(), |reference| text.replace(reference, &other)).into_bytes();
        self
    }
}

fn escaped(form: Form, text: &str) -> String {
    match form {
        Form::Xml => xml::attribute(text).map(|text| text.into_owned()).unwrap_or_default(),
        Form::Json => serde_json::Value::from(text).to_string().trim_matches('"').to_owned(),
    }
}

/// The name of the Body's child, as the operation's examples have it.
fn element_of(operation: &Operation) -> Option<(String, String)> {
    let example = operation.examples.first()?;
    let document = xml::decode(&example.wire_request).and_then(xml::parse).ok()?;
    let name = wire::open(&document).ok()?.body.first_element_child()?.tag_name();
    Some((name.namespace().unwrap_or_default().to_owned(), name.name().to_owned()))
}

fn path_of(uri: &Uri) -> String {
    uri.path_and_query().map(|it| it.as_str().to_owned()).unwrap_or_default()
}
