//! STR-Transform (WSS 1.0, section 8.3): a reference to a SecurityTokenReference stands for the token that it points at, so
//! that the token is signed together with the message.

use super::{
    WssRefusal, names,
    shape::{Parts, only},
    token::{carried_token, only_element},
};
use crate::{
    trust::{Certificate, named::Named},
    xml::{self, Sink},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use roxmltree::Node;
use std::collections::HashMap;

/// What a reference is about, with the element that says how it is canonicalized.
pub(super) enum Transformed<'a, 'input> {
    /// The element that it names.
    Element(Node<'a, 'input>),
    /// The token to which the element points that it names.
    Token(Node<'a, 'input>),
}

/// The CanonicalizationMethod within the transform.
pub(super) fn method<'a, 'input>(transform: Node<'a, 'input>) -> Result<Node<'a, 'input>, WssRefusal> {
    let parameters = only(transform, names::WSSE, "TransformationParameters");
    let method = parameters.and_then(|parameters| only(parameters, names::DS, "CanonicalizationMethod"));
    let method = method.map_err(|()| WssRefusal::Transform(Named::of(Some(names::STR_TRANSFORM))))?;
    match method.attribute("Algorithm") {
        Some(names::EXC_C14N) => Ok(method),
        other => Err(WssRefusal::Transform(Named::all([names::STR_TRANSFORM, other.unwrap_or("nothing")].into_iter()))),
    }
}

/// Writes the token's canonical form, and says which elements of the message are signed by it. `signer` is whose signature
/// holds: a token that the message does not carry is made of that certificate.
pub(super) fn canonical_token<'a, 'input>(
    reference: Node<'a, 'input>,
    parts: &Parts<'a, 'input>,
    identifiers: &HashMap<&str, Node<'a, 'input>>,
    signer: &Certificate,
    prefixes: &[&str],
    out: &mut impl Sink,
) -> Result<Vec<Node<'a, 'input>>, WssRefusal> {
    let is_ours = reference.has_tag_name((names::WSSE, "SecurityTokenReference"))
        && reference.parent().is_some_and(|parent| {
            parent.has_tag_name((names::DS, "KeyInfo")) && parent.parent() == Some(parts.signature)
        });
    if !is_ours {
        return Err(WssRefusal::Transform(Named::of(Some(names::STR_TRANSFORM))));
    }
    let described = only_element(reference)?;
    if described.has_tag_name((names::WSSE, "Reference")) {
        let token = carried_token(described, parts.security, identifiers)?;
        let inclusive: Vec<&str> = prefixes.iter().copied().chain(["#default"]).collect();
        let mut canonical = Vec::new();
        xml::canonicalize(token, &inclusive, &mut canonical);
        put_with_default_namespace(&canonical, out);
        return Ok(vec![reference, token]);
    }
    out.put(made_token(prefix_of(reference), &signer.der).as_bytes());
    Ok(vec![reference])
}

/// The standard wants the default namespace said at the token, even that there is none.
fn put_with_default_namespace(canonical: &[u8], out: &mut impl Sink) {
    let end = canonical.iter().position(|byte| matches!(byte, b' ' | b'>')).unwrap_or(canonical.len());
    let (name, rest) = canonical.split_at(end);
    out.put(name);
    if !rest.starts_with(b" xmlns=\"") {
        out.put(b" xmlns=\"\"");
    }
    out.put(rest);
}

/// The prefix that the element itself has, as the standard wants it.
fn prefix_of<'a>(element: Node<'a, '_>) -> &'a str {
    let source = element.document().input_text().get(element.range()).unwrap_or_default();
    let name = source.trim_start_matches('<').split([' ', '\t', '\r', '\n', '/', '>']).next().unwrap_or_default();
    name.split_once(':').map_or("", |(prefix, _)| prefix)
}

/// A token that the message only describes.
fn made_token(prefix: &str, der: &[u8]) -> String {
    let (name, declarations) = match prefix {
        "" => ("BinarySecurityToken".to_owned(), format!(" xmlns=\"{}\"", names::WSSE)),
        prefix => (format!("{prefix}:BinarySecurityToken"), format!(" xmlns=\"\" xmlns:{prefix}=\"{}\"", names::WSSE)),
    };
    format!("<{name}{declarations} ValueType=\"{}\">{}</{name}>", names::X509_V3, STANDARD.encode(der))
}
