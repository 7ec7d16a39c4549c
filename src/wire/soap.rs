//! A SOAP envelope comes in as a tree; its headers, its Body and the fault in it go out.

use super::{XmlToJson, XmlToJsonError};
use roxmltree::{Document, Node};
use serde_json::Value;

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

    fn of(namespace: Option<&str>) -> Option<Self> {
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
    #[error(transparent)]
    Json(#[from] XmlToJsonError),
}

/// A fault as the agency wrote it. Text and detail may be about a person, so `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct SoapFault {
    /// Local part of the fault code: `Client`/`Sender`, `Server`/`Receiver`, with what follows a dot in SOAP 1.1.
    pub code: String,
    pub text: String,
    pub detail: Value,
}

impl SoapFault {
    /// Whether the agency says that our message is at fault, and not itself.
    pub fn blames_sender(&self) -> bool {
        let class = self.code.split('.').next().unwrap_or_default();
        matches!(class, "Client" | "Sender" | "VersionMismatch" | "MustUnderstand")
    }
}

impl std::fmt::Debug for SoapFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SoapFault").field("code", &self.code).finish_non_exhaustive()
    }
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

/// The fault in a Body, if it holds one and nothing else.
pub fn read_fault(body: Node<'_, '_>, names: &XmlToJson) -> Result<Option<SoapFault>, SoapRefusal> {
    let Some(version) = SoapVersion::of(body.tag_name().namespace()) else { return Err(SoapRefusal::NoEnvelope) };
    let mut children = body.children().filter(Node::is_element);
    let Some(fault) = children.next().filter(|first| first.has_tag_name((version.namespace(), "Fault"))) else {
        return Ok(None);
    };
    if children.next().is_some() {
        return Err(SoapRefusal::Shape);
    }
    let (code, text, detail) = match version {
        SoapVersion::V11 => {
            let detail = fault.children().find(|node| node.tag_name().name() == "detail");
            (text_at(fault, version, &["faultcode"]), text_at(fault, version, &["faultstring"]), detail)
        }
        SoapVersion::V12 => {
            let detail = fault.children().find(|node| node.tag_name().name() == "Detail");
            (text_at(fault, version, &["Code", "Value"]), text_at(fault, version, &["Reason", "Text"]), detail)
        }
    };
    let detail = detail.map_or(Ok(Value::Null), |detail| names.children(detail))?;
    let code = code.rsplit(':').next().unwrap_or_default().to_owned();
    Ok(Some(SoapFault { code, text, detail }))
}

/// The parts of a SOAP 1.1 fault have no namespace (§4.4), those of 1.2 have the envelope's (part 1 §5.4).
fn text_at(fault: Node<'_, '_>, version: SoapVersion, path: &[&str]) -> String {
    let namespace = match version {
        SoapVersion::V11 => None,
        SoapVersion::V12 => Some(version.namespace()),
    };
    let mut found = Some(fault);
    for name in path {
        // `xmlns=""` says the same as no declaration, and no signature covers the difference.
        let is_it = |node: &Node<'_, '_>| {
            (node.tag_name().name(), node.tag_name().namespace().filter(|uri| !uri.is_empty())) == (name, namespace)
        };
        found = found.and_then(|node| node.children().find(is_it));
    }
    let texts = found.into_iter().flat_map(|node| node.children()).filter(Node::is_text).filter_map(|node| node.text());
    texts.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FAULT_11: &str = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header><a/></s:Header>
        <s:Body><s:Fault><faultcode>s:Server.Busy</faultcode><faultstring>Try later</faultstring>
        <detail><f:Fault xmlns:f="urn:f"><f:Code>Busy</f:Code></f:Fault></detail></s:Fault></s:Body></s:Envelope>"#;
    const FAULT_12: &str = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault>
        <s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason><s:Text xml:lang="en">Wrong</s:Text></s:Reason>
        </s:Fault></s:Body></s:Envelope>"#;

    fn fault(xml: &str) -> Result<Option<SoapFault>, SoapRefusal> {
        let document = Document::parse(xml).unwrap();
        read_fault(open(&document)?.body, &XmlToJson::default())
    }

    #[test]
    fn faults_of_both_versions_are_read() {
        let read = fault(FAULT_11).unwrap().unwrap();
        assert_eq!((read.code.as_str(), read.text.as_str(), read.blames_sender()), ("Server.Busy", "Try later", false));
        assert_eq!(read.detail, json!({"{urn:f}Fault": {"{urn:f}Code": "Busy"}}));
        let read = fault(FAULT_12).unwrap().unwrap();
        assert_eq!((read.code.as_str(), read.text.as_str(), read.blames_sender()), ("Sender", "Wrong", true));
        assert_eq!(read.detail, Value::Null);
    }

    #[test]
    fn a_fault_reads_the_same_where_the_default_namespace_is_undone_once_more() {
        for place in ["<s:Body", "<s:Fault", "<faultcode", "<faultstring", "<detail"] {
            let undone = FAULT_11.replacen(place, &format!("{place} xmlns=\"\""), 1);
            assert_eq!(fault(&undone), fault(FAULT_11), "{place}");
        }
    }

    #[test]
    fn an_answer_that_only_looks_like_a_fault_is_none() {
        let other = FAULT_11.replace("s:Fault", "Fault");
        assert_eq!(fault(&other), Ok(None));
    }

    #[test]
    fn what_has_not_the_shape_of_an_envelope_is_refused() {
        assert_eq!(fault("<Envelope/>"), Err(SoapRefusal::NoEnvelope));
        assert_eq!(fault(&FAULT_12.replace("s:Body>", "s:Bod>")), Err(SoapRefusal::Shape));
        let body = "<s:Body></s:Body>";
        let two =
            format!(r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">{body}{body}</s:Envelope>"#);
        assert_eq!(fault(&two), Err(SoapRefusal::Shape));
        let extra = FAULT_11.replace("</s:Body>", "<more/></s:Body>");
        assert_eq!(fault(&extra), Err(SoapRefusal::Shape));
    }
}
