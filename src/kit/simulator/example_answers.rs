//! An opened request comes in; what the simulated agency understands goes out: the operation, and the example of the
//! adapter whose answer fits best.

use super::{ledger::Ledger, seal::Opened};
use crate::{
    adapter::{Adapter, Example, Form, Leaf, Operation, Protocol, Purpose, Reading, WireReply, leaves},
    soap::{
        self,
        content::{HeadersThatCount, TextKind},
    },
    xml,
};
use http::{HeaderMap, Method, Uri};
use std::collections::BTreeMap;

/// The request, understood.
pub(super) struct Asked<'a> {
    pub operation: &'a Operation,
    pub example: &'a Example,
    pub purpose: Purpose,
    /// Ours, where the request carries it.
    pub reference: Option<String>,
    /// Of this very message.
    pub message: Option<String>,
    pub subject: Option<String>,
}

/// An answer before it is sealed.
pub(super) struct Reply {
    pub status: u16,
    /// HTTP headers, by name.
    pub headers: BTreeMap<String, String>,
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
        Some(Asked {
            operation,
            example,
            purpose: Purpose::Lookup,
            reference: Some(reference),
            message: None,
            subject: None,
        })
    })
}

/// An example and the texts of its request.
struct Known<'a> {
    example: &'a Example,
    leaves: Vec<Leaf>,
}

/// The example with the same texts; else the one about the same subject; else the first good one. What differs from one
/// request to the next (reference, times, trace, who asks) does not count.
fn choose<'a>(operation: &'a Operation, asked: &[Leaf]) -> Option<Asked<'a>> {
    let form = operation.request.request_form();
    let known = operation.examples.iter().filter_map(|example| {
        let leaves = leaves(form, &example.wire_request).ok()?;
        Some(Known { example, leaves })
    });
    let known: Vec<_> = known.collect();
    let same = known.iter().find(|known| known.is_same(asked));
    let about_same = || known.iter().find(|known| known.subject_of(asked).as_ref() == Some(known.subject()));
    let good = || known.iter().find(|known| matches!(known.example.mapped.reading, Reading::Answered { .. }));
    let chosen = same.or_else(about_same).or_else(good)?;
    Some(Asked {
        operation,
        example: chosen.example,
        purpose: Purpose::Submit,
        reference: chosen.counterpart(asked, &chosen.example.submission.id.to_string()),
        message: chosen.counterpart(asked, &chosen.example.message.to_string()),
        subject: chosen.subject_of(asked),
    })
}

impl Known<'_> {
    fn subject(&self) -> &String {
        &self.example.submission.subject.id
    }

    fn subject_of(&self, asked: &[Leaf]) -> Option<String> {
        self.counterpart(asked, self.subject())
    }

    /// What stands in the request where this text stands in the example.
    fn counterpart(&self, asked: &[Leaf], text: &str) -> Option<String> {
        let is_it = |leaf: &&Leaf| leaf.text == text;
        // Or with something around it, such as `urn:uuid:`.
        let around = || self.leaves.iter().find(|leaf| !text.is_empty() && leaf.text.contains(text));
        let known = self.leaves.iter().find(is_it).or_else(around)?;
        let (before, after) = known.text.split_once(text)?;
        let theirs = asked.iter().find(|leaf| leaf.path == known.path)?;
        theirs.text.strip_prefix(before)?.strip_suffix(after).map(str::to_owned)
    }

    fn is_same(&self, asked: &[Leaf]) -> bool {
        let is_same = |(known, asked): (&Leaf, &Leaf)| known == asked || is_volatile(self.example, &known.text);
        self.leaves.len() == asked.len() && self.leaves.iter().zip(asked).all(is_same)
    }
}

fn is_volatile(example: &Example, text: &str) -> bool {
    let submission = &example.submission;
    let context = &submission.context;
    if text.contains(&submission.id.to_string()) || text.contains(&example.message.to_string()) {
        return true;
    }
    [
        example.now.to_string().as_str(),
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
        self.purpose == Purpose::Submit
            && matches!(self.example.mapped.reading, Reading::Answered { .. } | Reading::Waiting)
    }

    /// The example's answer, about this request and this subject. A question is answered from the ledger.
    pub fn reply(&self, ledger: &Ledger) -> Result<Reply, String> {
        if self.purpose == Purpose::Submit {
            return Ok(self.in_place(&self.example.answer, self.example, self.operation.request.expects()));
        }
        let is_known = self.reference.as_ref().is_some_and(|reference| ledger.has(&self.operation.service, reference));
        let fits = |reading: &Reading| match is_known {
            true => matches!(reading, Reading::Answered { .. }),
            false => *reading == Reading::NotSeen,
        };
        let shown = self.operation.examples.iter().find_map(|example| {
            let (reply, mapped) = example.lookup.as_ref()?;
            fits(&mapped.reading).then_some((example, reply))
        });
        let (example, reply) = shown.ok_or("no example shows this answer to a question")?;
        let form = self.operation.lookup.as_ref().map_or(Form::Json, |lookup| lookup.expects());
        Ok(self.in_place(reply, example, form))
    }

    /// What the agency says when it has done nothing and may be asked again, if an example shows it.
    pub fn busy(&self) -> Option<Reply> {
        let is_passing = |it: &&Example| matches!(it.mapped.reading, Reading::Failed { transient: true, .. });
        let example = self.operation.examples.iter().find(is_passing)?;
        Some(self.in_place(&example.answer, example, self.operation.request.expects()))
    }

    /// This request's reference, message and subject stand where the example's own stood.
    fn in_place(&self, reply: &WireReply, example: &Example, form: Form) -> Reply {
        let mut text = utf8(reply, form);
        let mut headers = reply.headers.clone();
        // Of the file, and not of what is made of it.
        headers.retain(|name, _| !["content-type", "content-encoding"].contains(&name.to_ascii_lowercase().as_str()));
        let pairs = [
            (example.submission.id.to_string(), &self.reference),
            (example.message.to_string(), &self.message),
            (example.submission.subject.id.clone(), &self.subject),
        ];
        for (own, theirs) in pairs {
            if let Some(theirs) = theirs {
                text = text.replace(&own, &escaped(form, theirs));
                headers.values_mut().for_each(|value| *value = value.replace(&own, theirs));
            }
        }
        Reply { status: reply.status, headers, body: text.into_bytes(), form }
    }
}

/// The file's characters, in whatever encoding it is written. What declares another one is answered without the declaration.
fn utf8(reply: &WireReply, form: Form) -> String {
    let kind = if form == Form::Xml { TextKind::Xml } else { TextKind::Json };
    let Ok(content) = reply.content(HeadersThatCount::ALL) else {
        return String::from_utf8_lossy(&reply.body).into_owned();
    };
    let text = content.text(kind).map_or_else(|_| String::from_utf8_lossy(&reply.body), |read| read.text);
    match text.split_once("?>") {
        Some((declaration, rest)) if declaration.starts_with("<?xml") && xml::decode(&reply.body).is_err() => {
            rest.to_owned()
        }
        _ => text.into_owned(),
    }
}

impl Reply {
    /// The same answer, as if it belonged to another request, about another person.
    pub fn about_another(mut self, asked: &Asked<'_>) -> Self {
        let other = uuid::Uuid::new_v4().to_string();
        let mut text = String::from_utf8_lossy(&self.body).into_owned();
        for (own, other) in [(&asked.reference, other.as_str()), (&asked.subject, "2999999999999")] {
            if let Some(own) = own.as_ref().filter(|own| !own.is_empty()) {
                text = text.replace(own, other);
                self.headers.values_mut().for_each(|value| *value = value.replace(own, other));
            }
        }
        self.body = text.into_bytes();
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
    let name = soap::open(&document).ok()?.body.first_element_child()?.tag_name();
    Some((name.namespace().unwrap_or_default().to_owned(), name.name().to_owned()))
}

fn path_of(uri: &Uri) -> String {
    uri.path_and_query().map(|it| it.as_str().to_owned()).unwrap_or_default()
}
