//! A parsed SOAP message comes in; its parts, each in its one right place, and its identifiers go out.

use super::{WssRefusal, names};
use roxmltree::{Document, Node};
use std::collections::HashMap;

/// The parts of an envelope that a signature is about.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a, 'input> {
    pub header: Node<'a, 'input>,
    pub body: Node<'a, 'input>,
    /// The one Security header that is addressed to us.
    pub security: Node<'a, 'input>,
    pub signature: Node<'a, 'input>,
    pub signed_info: Node<'a, 'input>,
}

pub(super) fn parts<'a, 'input>(document: &'a Document<'input>) -> Result<Parts<'a, 'input>, WssRefusal> {
    let envelope = document.root_element();
    let soap = soap_namespace(envelope).ok_or(WssRefusal::NotSoap)?;
    let (header, body) = header_and_body(envelope, soap).ok_or(WssRefusal::EnvelopeShape)?;
    let security = our_security(header, soap)?;
    let signature = only(security, names::DS, "Signature").map_err(|()| WssRefusal::Shape("ds:Signature"))?;
    let signed_info = only(signature, names::DS, "SignedInfo").map_err(|()| WssRefusal::Shape("ds:SignedInfo"))?;
    Ok(Parts { header, body, security, signature, signed_info })
}

/// One Header, one Body, in this order, and nothing beside them that some other reader might take for either.
fn header_and_body<'a, 'input>(envelope: Node<'a, 'input>, soap: &str) -> Option<(Node<'a, 'input>, Node<'a, 'input>)> {
    let is = |node: &Node<'_, '_>, name| node.has_tag_name((soap, name));
    let children: Vec<_> = envelope.children().filter(Node::is_element).take(3).collect();
    match children.as_slice() {
        [header, body] if is(header, "Header") && is(body, "Body") => Some((*header, *body)),
        _ => None,
    }
}

pub(super) fn soap_namespace(envelope: Node<'_, '_>) -> Option<&'static str> {
    [names::SOAP11, names::SOAP12].into_iter().find(|soap| envelope.has_tag_name((*soap, "Envelope")))
}

/// The only child of that name.
pub(super) fn only<'a, 'input>(parent: Node<'a, 'input>, namespace: &str, name: &str) -> Result<Node<'a, 'input>, ()> {
    let mut found = parent.children().filter(|child| child.has_tag_name((namespace, name)));
    match (found.next(), found.next()) {
        (Some(child), None) => Ok(child),
        _ => Err(()),
    }
}

/// Headers for other actors are none of our business; two for the same actor are forbidden (WSS 1.0 §5).
fn our_security<'a, 'input>(header: Node<'a, 'input>, soap: &str) -> Result<Node<'a, 'input>, WssRefusal> {
    let is_ours = |security: &Node<'_, '_>| {
        let actor = match soap == names::SOAP12 {
            true => security.attribute((names::SOAP12, "role")),
            false => security.attribute((names::SOAP11, "actor")),
        };
        actor.is_none_or(|actor| actor.is_empty() || (soap == names::SOAP12 && actor == names::SOAP12_ULTIMATE))
    };
    let mut ours = header.children().filter(|child| child.has_tag_name((names::WSSE, "Security"))).filter(is_ours);
    match (ours.next(), ours.next()) {
        (Some(security), None) => Ok(security),
        (Some(_), Some(_)) => Err(WssRefusal::SecondSecurityHeader),
        (None, _) => Err(WssRefusal::NoSecurityHeader),
    }
}

/// Every identifier of the document, whichever attribute carries it; none may stand twice.
pub(super) fn identifiers<'a, 'input>(
    document: &'a Document<'input>,
) -> Result<HashMap<&'a str, Node<'a, 'input>>, WssRefusal> {
    let mut found: HashMap<&str, Node<'_, '_>> = HashMap::new();
    for element in document.descendants().filter(Node::is_element) {
        for attribute in element.attributes() {
            let is_identifier = match attribute.namespace() {
                Some(names::WSU) => attribute.name() == "Id",
                Some(names::XML) => attribute.name() == "id",
                None => attribute.name() == "Id" && element.tag_name().namespace() == Some(names::DS),
                Some(_) => false,
            };
            if is_identifier && found.insert(attribute.value(), element).is_some() {
                return Err(WssRefusal::DuplicateId);
            }
        }
    }
    Ok(found)
}

/// Whether another element carries one of these identifiers in a spelling that is none of ours, but some other reader's:
/// `ID` or `AssertionID` of SAML, a bare `Id` or `id`. Only identifiers that are referred to count: data may repeat its own.
pub(super) fn has_lookalike(document: &Document<'_>, referred: &[(&str, Node<'_, '_>)]) -> bool {
    const SPELLINGS: [&str; 2] = ["id", "assertionid"];
    let is_lookalike = |element: Node<'_, '_>| {
        element.attributes().any(|attribute| {
            SPELLINGS.iter().any(|spelling| attribute.name().eq_ignore_ascii_case(spelling))
                && referred.iter().any(|(identifier, owner)| attribute.value() == *identifier && *owner != element)
        })
    };
    document.descendants().filter(Node::is_element).any(is_lookalike)
}

/// The element's text without white space. A comment inside could cut it for another reader, so nothing but text may be there.
pub(super) fn plain_text(element: Node<'_, '_>, name: &'static str) -> Result<String, WssRefusal> {
    let mut text = String::new();
    for child in element.children() {
        match child.text() {
            Some(part) if child.is_text() => text.extend(part.split_ascii_whitespace()),
            _ => return Err(WssRefusal::NotPlainText(name)),
        }
    }
    Ok(text)
}

/// Comments are not covered by the signature. One between two texts makes some readers see only the first.
pub(super) fn has_comment_in_text(element: Node<'_, '_>) -> bool {
    // Each parent is looked at once: a look for each comment would take the square of their number.
    let mixes_them = |parent: Node<'_, '_>| {
        let (mut has_comment, mut has_text) = (false, false);
        for child in parent.children() {
            has_comment |= child.is_comment();
            has_text |= child.is_text() && !child.text().unwrap_or("").trim().is_empty();
        }
        has_comment && has_text
    };
    element.descendants().filter(Node::is_element).any(mixes_them)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_found_where_text_is_and_many_comments_cost_little() {
        let found = |xml: &str| has_comment_in_text(Document::parse(xml).unwrap().root_element());
        assert!(found("<a>1<!-- x --></a>") && found("<a><b/><c>x<d/><!-- --></c></a>"));
        assert!(!found("<a> <!-- x --> <b>1</b></a>"));
        let begun = std::time::Instant::now();
        assert!(!found(&format!("<a>{}</a>", "<!---->".repeat(200_000))));
        assert!(begun.elapsed().as_secs() < 5);
    }
}
