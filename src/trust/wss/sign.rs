//! A SOAP envelope as a template rendered it, a profile and an identity come in; the same envelope, signed, goes out.
//!
//! Nothing in the envelope is re-written: identifiers and the Security header are spliced in at byte positions of its
//! source. Timestamp and SignedInfo are written in their canonical form, so only the Body and the named headers are
//! canonicalized: as they will be, from the one tree that is made of the envelope.

use super::{
    hash::Hash,
    names,
    shape::{only, soap_namespace},
};
use crate::{
    domain::later,
    trust::{Identity, WssProfile, key::KeyFault},
    xml::{self, Planned, XmlRefusal},
};
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use roxmltree::Node;
use std::fmt::Write;

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

pub fn sign(envelope: &str, profile: &WssProfile, identity: &Identity, now: Timestamp) -> Result<String, WssError> {
    let envelope = envelope.strip_prefix('\u{FEFF}').unwrap_or(envelope);
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let Prepared { mut text, signature_at, references } = prepare(envelope, profile, &unique, identity, now)?;
    text.insert_str(signature_at, &signature(&references, profile, identity, &unique)?);
    Ok(text)
}

/// The envelope with its identifiers and its Security header, except for the Signature.
struct Prepared {
    text: String,
    signature_at: usize,
    /// What is signed, with its digest.
    references: String,
}

/// The identifier of an element that is to be signed.
struct Identification {
    prefix: String,
    is_declared: bool,
    value: String,
}

fn prepare(
    envelope: &str,
    profile: &WssProfile,
    unique: &str,
    identity: &Identity,
    now: Timestamp,
) -> Result<Prepared, WssError> {
    let document = xml::parse(envelope)?;
    let root = document.root_element();
    let soap = soap_namespace(root).ok_or(WssError::NotSoap)?;
    let body = only(root, soap, "Body").map_err(|()| WssError::EnvelopeShape)?;
    let header = only_header(root, soap, body)?;
    let timestamp = timestamp(profile, unique, now);
    let (_, digest_algorithm) = names::digest_for(profile.algorithm);
    let digested = digest::digest(digest_algorithm, timestamp.as_bytes());
    let mut references = reference(profile, &format!("TS-{unique}"), &exclusive(), digested.as_ref());
    if profile.sign_token {
        let canonical = format!("{}{}", token_start(profile, unique, Written::Canonical), token_rest(identity));
        let digested = digest::digest(digest_algorithm, canonical.as_bytes());
        references.push_str(&reference(profile, &format!("STR-{unique}"), &str_transform(), digested.as_ref()));
    }
    let mut splices = Vec::new();
    for (index, element) in to_be_signed(header, body, profile)?.into_iter().enumerate() {
        let identification = Identification::of(element, format!("Signed-{index}-{unique}"))?;
        let mut hash = Hash::new(digest_algorithm);
        xml::canonicalize_planned(element, &identification.planned(), &mut hash);
        references.push_str(&reference(profile, &identification.value, &exclusive(), hash.finish().as_ref()));
        splices.push((end_of_name(envelope, element), identification.written()));
    }
    let security = security(soap, &timestamp, profile, unique, identity);
    let (at, before, after) = place_of_security(envelope, root, header, body);
    let replaced = header.filter(|header| is_self_closing(envelope, *header)).map(|header| header.range());
    splices.push((at, format!("{before}{security}{after}")));
    let (text, security_at) = splice(envelope, splices, at, replaced);
    let signature_at = security_at + before.len() + security.len() - SECURITY_END.len();
    Ok(Prepared { text, signature_at, references })
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

fn timestamp(profile: &WssProfile, unique: &str, now: Timestamp) -> String {
    let (created, expires) = (written(now), written(later(now, profile.ttl)));
    format!(
        "<wsu:Timestamp xmlns:wsu=\"{}\" wsu:Id=\"TS-{unique}\"><wsu:Created>{created}</wsu:Created><wsu:Expires>{expires}</wsu:Expires></wsu:Timestamp>",
        names::WSU
    )
}

fn written(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

const SECURITY_END: &str = "</wsse:Security>";

fn security(soap: &str, timestamp: &str, profile: &WssProfile, unique: &str, identity: &Identity) -> String {
    let must_understand = match (profile.must_understand, soap == names::SOAP11) {
        (false, _) => String::new(),
        (true, true) => format!(" xmlns:soapenv=\"{soap}\" soapenv:mustUnderstand=\"1\""),
        (true, false) => format!(" xmlns:soapenv=\"{soap}\" soapenv:mustUnderstand=\"true\""),
    };
    let token = format!("{}{}", token_start(profile, unique, Written::InPlace), token_rest(identity));
    format!(
        "<wsse:Security xmlns:wsse=\"{}\" xmlns:wsu=\"{}\"{must_understand}>{token}{timestamp}{SECURITY_END}",
        names::WSSE,
        names::WSU,
    )
}

#[derive(Clone, Copy)]
enum Written {
    /// Below our Security header, which declares the prefixes.
    InPlace,
    /// As STR-Transform makes it.
    Canonical,
}

/// A signed token says that it has no default namespace, so that its canonical form does not depend on the envelope.
fn token_start(profile: &WssProfile, unique: &str, written: Written) -> String {
    let declarations = match written {
        Written::Canonical => format!(" xmlns=\"\" xmlns:wsse=\"{}\" xmlns:wsu=\"{}\"", names::WSSE, names::WSU),
        Written::InPlace if profile.sign_token => " xmlns=\"\"".to_owned(),
        Written::InPlace => String::new(),
    };
    format!(
        "<wsse:BinarySecurityToken{declarations} EncodingType=\"{}\" ValueType=\"{}\" wsu:Id=\"X509-{unique}\">",
        names::BASE64_BINARY,
        names::X509_V3,
    )
}

fn token_rest(identity: &Identity) -> String {
    format!("{}</wsse:BinarySecurityToken>", STANDARD.encode(&identity.certificate.der))
}

/// Where the Security header goes, and what must stand around it.
fn place_of_security(
    envelope: &str,
    root: Node<'_, '_>,
    header: Option<Node<'_, '_>>,
    body: Node<'_, '_>,
) -> (usize, String, String) {
    match header {
        Some(header) if is_self_closing(envelope, header) => {
            let start = envelope.get(header.range()).unwrap_or("").trim_end_matches('>').trim_end_matches('/');
            let name = name_of(envelope, header);
            (header.range().start, format!("{start}>"), format!("</{name}>"))
        }
        Some(header) => (end_of_start_tag(envelope, header), String::new(), String::new()),
        None => {
            let name = match name_of(envelope, root).split_once(':') {
                Some((prefix, _)) => format!("{prefix}:Header"),
                None => "Header".to_owned(),
            };
            (body.range().start, format!("<{name}>"), format!("</{name}>"))
        }
    }
}

/// Inserts the texts at their places; `replaced` is left out. Also says where the text for `wanted` came to stand.
fn splice(
    source: &str,
    mut splices: Vec<(usize, String)>,
    wanted: usize,
    replaced: Option<std::ops::Range<usize>>,
) -> (String, usize) {
    splices.sort_by_key(|(at, _)| *at);
    let mut text = String::with_capacity(source.len() + 8192);
    let (mut from, mut wanted_at) = (0, 0);
    for (at, inserted) in splices {
        text.push_str(source.get(from..at).unwrap_or(""));
        from = at;
        if at == wanted {
            wanted_at = text.len();
            from = replaced.as_ref().map_or(at, |replaced| replaced.end);
        }
        text.push_str(&inserted);
    }
    text.push_str(source.get(from..).unwrap_or(""));
    (text, wanted_at)
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

fn signature(references: &str, profile: &WssProfile, identity: &Identity, unique: &str) -> Result<String, WssError> {
    let signed_info = format!(
        "<ds:SignedInfo xmlns:ds=\"{}\"><ds:CanonicalizationMethod Algorithm=\"{}\"></ds:CanonicalizationMethod><ds:SignatureMethod Algorithm=\"{}\"></ds:SignatureMethod>{references}</ds:SignedInfo>",
        names::DS,
        names::EXC_C14N,
        names::uri_of(profile.algorithm),
    );
    let value = STANDARD.encode(identity.signer().sign(profile.algorithm, signed_info.as_bytes())?);
    let identifier = if profile.sign_token { format!(" wsu:Id=\"STR-{unique}\"") } else { String::new() };
    Ok(format!(
        "<ds:Signature xmlns:ds=\"{}\" Id=\"SIG-{unique}\">{signed_info}<ds:SignatureValue>{value}</ds:SignatureValue><ds:KeyInfo><wsse:SecurityTokenReference{identifier}><wsse:Reference URI=\"#X509-{unique}\" ValueType=\"{}\"></wsse:Reference></wsse:SecurityTokenReference></ds:KeyInfo></ds:Signature>",
        names::DS,
        names::X509_V3,
    ))
}

fn exclusive() -> String {
    format!("<ds:Transform Algorithm=\"{}\"></ds:Transform>", names::EXC_C14N)
}

/// WSS 1.0, section 8.3.
fn str_transform() -> String {
    format!(
        "<ds:Transform Algorithm=\"{}\"><wsse:TransformationParameters xmlns:wsse=\"{}\"><ds:CanonicalizationMethod Algorithm=\"{}\"></ds:CanonicalizationMethod></wsse:TransformationParameters></ds:Transform>",
        names::STR_TRANSFORM,
        names::WSSE,
        names::EXC_C14N,
    )
}

fn reference(profile: &WssProfile, identifier: &str, transform: &str, digest: &[u8]) -> String {
    let (uri, _) = names::digest_for(profile.algorithm);
    let mut text = String::new();
    let _ = write!(
        text,
        "<ds:Reference URI=\"#{identifier}\"><ds:Transforms>{transform}</ds:Transforms><ds:DigestMethod Algorithm=\"{uri}\"></ds:DigestMethod><ds:DigestValue>{}</ds:DigestValue></ds:Reference>",
        STANDARD.encode(digest),
    );
    text
}
