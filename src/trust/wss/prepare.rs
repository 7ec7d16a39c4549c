//! The tree of a SOAP envelope as a template rendered it, and a profile, come in; the envelope goes out with all of its
//! signature that needs neither a key nor a time.
//!
//! Nothing in the envelope is re-written: identifiers are spliced in at byte positions of its source. The Body and the named
//! headers are canonicalized as they will be, from the one tree that is made of the envelope.

use super::{
    hash::Hash,
    names,
    reference::{Transform, reference},
    shape::{only, soap_namespace},
};
use crate::{
    trust::{WssProfile, key::KeyFault},
    xml::{self, Planned, XmlRefusal},
};
use roxmltree::{Document, Node};
use std::ops::Range;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WssError {
    #[error("the envelope cannot be read: {0}")]
    Xml(#[from] XmlRefusal),
    #[error("the root is not a SOAP 1.1 or 1.2 Envelope")]
    NotSoap,
    #[error("the envelope must have one Body and at most one Header, before it")]
    EnvelopeShape,
    #[error("the envelope already has a Security header")]
    AlreadySecured,
    #[error("an element to be signed already has a wsu:Id")]
    AlreadyIdentified,
    #[error("the header {0}, which the profile has signed, is not there exactly once")]
    SignedHeader(String),
    #[error("{0}")]
    Key(#[from] KeyFault),
}

/// An envelope that lacks its Security header. Nothing can change its text any more: what is sent is what was digested.
pub struct Prepared {
    /// With the identifiers, and with a Header.
    pub(super) text: String,
    /// Within the Header.
    pub(super) security_at: usize,
    pub(super) soap: &'static str,
    /// What the identifiers of this message end with.
    pub(super) unique: String,
    /// To the elements of the envelope that are signed, with their digests.
    pub(super) references: String,
}

/// The identifier of an element that is to be signed.
struct Identification {
    prefix: String,
    is_declared: bool,
    value: String,
}

/// Where the Security header goes, and what must stand around it.
struct Place {
    at: usize,
    before: String,
    after: String,
    /// An empty Header, written anew as a pair of tags.
    replaced: Option<Range<usize>>,
}

/// `profile`: by which it will be signed.
pub fn prepare(document: &Document<'_>, profile: &WssProfile) -> Result<Prepared, WssError> {
    let (envelope, root) = (document.input_text(), document.root_element());
    let soap = soap_namespace(root).ok_or(WssError::NotSoap)?;
    let body = only(root, soap, "Body").map_err(|()| WssError::EnvelopeShape)?;
    let header = only_header(root, soap, body)?;
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let (_, digest_algorithm) = names::digest_for(profile.algorithm);
    let (mut references, mut splices) = (String::new(), Vec::new());
    for (index, element) in to_be_signed(header, body, profile)?.into_iter().enumerate() {
        let identification = Identification::of(element, format!("Signed-{index}-{unique}"))?;
        let mut hash = Hash::new(digest_algorithm);
        xml::canonicalize_planned(element, &identification.planned(), &mut hash);
        references += &reference(profile, &identification.value, Transform::Exclusive, hash.finish().as_ref());
        splices.push((end_of_name(envelope, element), identification.written()));
    }
    let (text, security_at) = splice(envelope, splices, Place::of_security(envelope, root, header, body));
    Ok(Prepared { text, security_at, soap, unique, references })
}

fn only_header<'a, 'i>(root: Node<'a, 'i>, soap: &str, body: Node<'a, 'i>) -> Result<Option<Node<'a, 'i>>, WssError> {
    let headers: Vec<_> = root.children().filter(|child| child.has_tag_name((soap, "Header"))).collect();
    match headers.as_slice() {
        [] => Ok(None),
        [header] if header.range().start < body.range().start => {
            match header.children().any(|child| child.has_tag_name((names::WSSE, "Security"))) {
                true => Err(WssError::AlreadySecured),
                false => Ok(Some(*header)),
            }
        }
        _ => Err(WssError::EnvelopeShape),
    }
}

fn to_be_signed<'a, 'i>(
    header: Option<Node<'a, 'i>>,
    body: Node<'a, 'i>,
    profile: &WssProfile,
) -> Result<Vec<Node<'a, 'i>>, WssError> {
    let mut elements = vec![body];
    for wanted in &profile.sign_headers {
        let found = header.and_then(|header| only(header, &wanted.namespace, &wanted.name).ok());
        elements.push(found.ok_or_else(|| WssError::SignedHeader(wanted.name.clone()))?);
    }
    Ok(elements)
}

impl Identification {
    /// Its prefix is `wsu` if that is free, or means what it should.
    fn of(element: Node<'_, '_>, value: String) -> Result<Self, WssError> {
        if element.has_attribute((names::WSU, "Id")) {
            return Err(WssError::AlreadyIdentified);
        }
        let candidates = std::iter::once("wsu".to_owned()).chain((0..).map(|number| format!("wsu{number}")));
        for prefix in candidates.take(1000) {
            match element.lookup_namespace_uri(Some(&prefix)) {
                Some(names::WSU) => return Ok(Self { prefix, is_declared: true, value }),
                Some(_) => {}
                None => return Ok(Self { prefix, is_declared: false, value }),
            }
        }
        Err(WssError::EnvelopeShape)
    }

    fn planned(&self) -> Planned<'_> {
        Planned { namespace: names::WSU, prefix: &self.prefix, name: "Id", value: &self.value }
    }

    /// The attribute, with a declaration of its prefix unless that is in scope.
    fn written(&self) -> String {
        let Self { prefix, is_declared, value } = self;
        let attribute = format!(" {prefix}:Id=\"{value}\"");
        if *is_declared { attribute } else { format!(" xmlns:{prefix}=\"{}\"{attribute}", names::WSU) }
    }
}

impl Place {
    fn of_security(envelope: &str, root: Node<'_, '_>, header: Option<Node<'_, '_>>, body: Node<'_, '_>) -> Self {
        match header {
            Some(header) if is_self_closing(envelope, header) => {
                let start = envelope.get(header.range()).unwrap_or("").trim_end_matches('>').trim_end_matches('/');
                let (before, after) = (format!("{start}>"), format!("</{}>", name_of(envelope, header)));
                Self { at: header.range().start, before, after, replaced: Some(header.range()) }
            }
            Some(header) => Self {
                at: end_of_start_tag(envelope, header),
                before: String::new(),
                after: String::new(),
                replaced: None,
            },
            None => {
                let name = match name_of(envelope, root).split_once(':') {
                    Some((prefix, _)) => format!("{prefix}:Header"),
                    None => "Header".to_owned(),
                };
                let (before, after) = (format!("<{name}>"), format!("</{name}>"));
                Self { at: body.range().start, before, after, replaced: None }
            }
        }
    }
}

/// What the Security header and its signature take, about.
const SECURITY_BYTES: usize = 8192;

/// Inserts the texts at their places. Also says where the Security header is to be inserted.
fn splice(source: &str, mut splices: Vec<(usize, String)>, place: Place) -> (String, usize) {
    splices.push((place.at, place.before.clone() + &place.after));
    splices.sort_by_key(|(at, _)| *at);
    let mut text = String::with_capacity(source.len() + SECURITY_BYTES);
    let (mut from, mut security_at) = (0, 0);
    for (at, inserted) in splices {
        text.push_str(source.get(from..at).unwrap_or(""));
        from = at;
        if at == place.at {
            security_at = text.len() + place.before.len();
            from = place.replaced.as_ref().map_or(at, |replaced| replaced.end);
        }
        text.push_str(&inserted);
    }
    text.push_str(source.get(from..).unwrap_or(""));
    (text, security_at)
}

fn name_of<'a>(source: &'a str, element: Node<'_, '_>) -> &'a str {
    source.get(element.range().start + 1..end_of_name(source, element)).unwrap_or("")
}

fn end_of_name(source: &str, element: Node<'_, '_>) -> usize {
    let from = element.range().start + 1;
    let rest = source.get(from..).unwrap_or("");
    from + rest.find([' ', '\t', '\r', '\n', '/', '>']).unwrap_or(rest.len())
}

/// After the `>` of the start tag, which is the first one outside of quotes.
fn end_of_start_tag(source: &str, element: Node<'_, '_>) -> usize {
    let from = element.range().start;
    let mut quote = None;
    for (offset, byte) in source.as_bytes().iter().enumerate().skip(from) {
        match (quote, byte) {
            (None, b'>') => return offset + 1,
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    source.len()
}

fn is_self_closing(source: &str, element: Node<'_, '_>) -> bool {
    let end = end_of_start_tag(source, element);
    end == element.range().end && source.get(..end).is_some_and(|tag| tag.ends_with("/>"))
}
