//! A SOAP envelope comes in as a tree; its headers and its Body go out.

use super::XmlToJsonError;
use roxmltree::{Document, Node};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoapVersion {
    V11,
    V12,
}

impl SoapVersion {
    pub fn namespace(self) -> &'static str {
        match self {
            SoapVersion::V11 => "http://schemas.xmlsoap.org/soap/envelope/",
            SoapVersion::V12 => "http://www.w3.org/2003/05/soap-envelope",
        }
    }

    pub(super) fn of(namespace: Option<&str>) -> Option<Self> {
        [SoapVersion::V11, SoapVersion::V12].into_iter().find(|version| namespace == Some(version.namespace()))
    }
}

#[derive(Debug)]
pub struct Envelope<'a, 'input> {
    pub version: SoapVersion,
    pub headers: Vec<Node<'a, 'input>>,
    pub body: Node<'a, 'input>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SoapRefusal {
    #[error("the XML is no SOAP envelope")]
    NoEnvelope,
    #[error("the SOAP envelope must have at most one Header, and then exactly one Body")]
    Shape,
    #[error("a SOAP Body that holds a Fault must hold nothing else")]
    FaultNotAlone,
    #[error(transparent)]
    Json(#[from] XmlToJsonError),
}

/// Checks the shape that SOAP 1.1 §4 and SOAP 1.2 part 1 §5 give an envelope.
pub fn open<'a, 'input>(document: &'a Document<'input>) -> Result<Envelope<'a, 'input>, SoapRefusal> {
    let root = document.root_element();
    let version = SoapVersion::of(root.tag_name().namespace()).ok_or(SoapRefusal::NoEnvelope)?;
    if root.tag_name().name() != "Envelope" {
        return Err(SoapRefusal::NoEnvelope);
    }
    let children: Vec<_> = root.children().filter(Node::is_element).collect();
    let is = |node: &Node<'_, '_>, name| node.has_tag_name((version.namespace(), name));
    match children.as_slice() {
        [body] if is(body, "Body") => Ok(Envelope { version, headers: Vec::new(), body: *body }),
        [header, body] if is(header, "Header") && is(body, "Body") => {
            let headers = header.children().filter(Node::is_element).collect();
            Ok(Envelope { version, headers, body: *body })
        }
        _ => Err(SoapRefusal::Shape),
    }
}
