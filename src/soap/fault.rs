//! A Body comes in; the fault in it goes out, in whichever version and spelling the agency wrote it.

use super::{SoapRefusal, SoapVersion, XmlToJson};
use roxmltree::Node;
use serde_json::Value;

/// A fault as the agency wrote it. Text and detail may be about a person, so `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct SoapFault {
    /// Local part of the fault code: `Client`/`Sender`, `Server`/`Receiver`, with what follows a dot in SOAP 1.1.
    pub code: String,
    /// What narrows the code: local parts of SOAP 1.2's nested subcodes, or what follows the dots in SOAP 1.1.
    pub subcodes: Vec<String>,
    pub blames: Blames,
    pub text: String,
    pub detail: Value,
}

/// Whom a fault code finds at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blames {
    /// Our message.
    Sender,
    /// Our certificate, key or token: a code of WS-Security 1.0 (§12).
    Credentials,
    /// Itself, or nobody that the protocol knows.
    Receiver,
}

const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
/// `MessageExpired` stands in this one.
const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
/// Its codes, which tell themselves where a careless agency binds no prefix.
const WSS_CODES: [&str; 7] = [
    "UnsupportedSecurityToken",
    "UnsupportedAlgorithm",
    "InvalidSecurity",
    "InvalidSecurityToken",
    "FailedAuthentication",
    "FailedCheck",
    "SecurityTokenUnavailable",
];
/// Of SOAP 1.1 and 1.2, those that find something wrong with our message.
const SENDERS_CODES: [&str; 5] = ["Client", "Sender", "VersionMismatch", "MustUnderstand", "DataEncodingUnknown"];
/// No protocol nests more.
const MAX_SUBCODES: usize = 8;

/// A fault code: a QName in content, whose prefix counts where it stands.
struct FaultCode {
    /// `None`: it has no prefix, or one that is not bound there, as careless agencies write it.
    namespace: Option<String>,
    local: String,
}

impl FaultCode {
    fn of(node: Node<'_, '_>) -> Self {
        let text: String = node.children().filter(Node::is_text).filter_map(|node| node.text()).collect();
        let text = text.trim();
        match text.rsplit_once(':') {
            Some((prefix, local)) => {
                let namespace = node.lookup_namespace_uri(Some(prefix)).map(str::to_owned);
                Self { namespace, local: local.trim().to_owned() }
            }
            None => Self { namespace: None, local: text.to_owned() },
        }
    }

    /// Careless agencies write `client`, and a code of the other version.
    fn blames(&self) -> Blames {
        let is_one_of = |known: &[&str], local: &str| known.iter().any(|known| known.eq_ignore_ascii_case(local));
        match self.namespace.as_deref() {
            Some(WSSE | WSU) => Blames::Credentials,
            Some(uri) if SoapVersion::of(Some(uri)).is_none() => Blames::Receiver,
            None if is_one_of(&WSS_CODES, &self.local) => Blames::Credentials,
            _ if is_one_of(&SENDERS_CODES, self.local.split('.').next().unwrap_or_default()) => Blames::Sender,
            _ => Blames::Receiver,
        }
    }
}

impl std::fmt::Debug for SoapFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SoapFault").field("code", &self.code).finish_non_exhaustive()
    }
}

/// The fault in a Body: where it holds one, it holds nothing else.
pub fn read_fault(body: Node<'_, '_>, names: &XmlToJson) -> Result<Option<SoapFault>, SoapRefusal> {
    let Some(version) = SoapVersion::of(body.tag_name().namespace()) else { return Err(SoapRefusal::NoEnvelope) };
    let children: Vec<_> = body.children().filter(Node::is_element).collect();
    // Some agencies put the other version's into their envelope.
    let version_of = |child: &Node<'_, '_>| {
        SoapVersion::of(child.tag_name().namespace()).filter(|_| child.tag_name().name() == "Fault")
    };
    if !children.iter().any(|child| version_of(child).is_some()) {
        return Ok(None);
    }
    let [fault] = children.as_slice() else { return Err(SoapRefusal::FaultNotAlone) };
    let Parts { codes, text, detail } = parts(*fault, version_of(fault).unwrap_or(version));
    let detail = detail.map_or(Ok(Value::Null), |detail| names.children(detail))?;
    Ok(Some(fault_of(codes, text.map(text_of).unwrap_or_default(), detail)))
}

/// What a fault consists of.
struct Parts<'a, 'input> {
    codes: Vec<FaultCode>,
    text: Option<Node<'a, 'input>>,
    detail: Option<Node<'a, 'input>>,
}

/// As its version has them. Some agencies build the other version's fault into their envelope: what has no code in its own
/// form is read in the other, if it has one there.
fn parts<'a, 'input>(fault: Node<'a, 'input>, version: SoapVersion) -> Parts<'a, 'input> {
    let own = parts_as(fault, version);
    if !own.codes.is_empty() {
        return own;
    }
    let other = match version {
        SoapVersion::V11 => parts_as(fault, SoapVersion::V12),
        SoapVersion::V12 => parts_as(fault, SoapVersion::V11),
    };
    if other.codes.is_empty() { own } else { other }
}

fn parts_as<'a, 'input>(fault: Node<'a, 'input>, version: SoapVersion) -> Parts<'a, 'input> {
    let (mut codes, text, detail) = match version {
        SoapVersion::V11 => {
            let codes: Vec<_> = part(fault, version, "faultcode").map(FaultCode::of).into_iter().collect();
            (codes, part(fault, version, "faultstring"), part(fault, version, "detail"))
        }
        SoapVersion::V12 => {
            let reason = part(fault, version, "Reason").and_then(|reason| part(reason, version, "Text"));
            (codes_of_12(fault, version), reason, part(fault, version, "Detail"))
        }
    };
    codes.retain(|code| !code.local.is_empty());
    Parts { codes, text, detail }
}

/// A code of WS-Security decides, wherever it stands; otherwise the outermost code does.
fn fault_of(codes: Vec<FaultCode>, text: String, detail: Value) -> SoapFault {
    let blamed: Vec<_> = codes.iter().map(FaultCode::blames).collect();
    let blames = match blamed.first() {
        _ if blamed.contains(&Blames::Credentials) => Blames::Credentials,
        Some(first) => *first,
        None => Blames::Receiver,
    };
    let mut locals = codes.into_iter().map(|code| code.local);
    let code = locals.next().unwrap_or_default();
    let subcodes = code.split('.').skip(1).map(str::to_owned).chain(locals).take(MAX_SUBCODES).collect();
    SoapFault { code, subcodes, blames, text, detail }
}

/// SOAP 1.2 part 1 §5.4.1: a `Value`, and perhaps a `Subcode` of the same kind within.
fn codes_of_12(fault: Node<'_, '_>, version: SoapVersion) -> Vec<FaultCode> {
    let mut codes = Vec::new();
    let mut at = part(fault, version, "Code");
    while let Some(code) = at.filter(|_| codes.len() <= MAX_SUBCODES) {
        codes.extend(part(code, version, "Value").map(FaultCode::of));
        at = part(code, version, "Subcode");
    }
    codes
}

/// The parts of a SOAP 1.1 fault have no namespace (§4.4), those of 1.2 have the envelope's (part 1 §5.4). Many agencies
/// write the other, or one of their own, and mean the same: what is as it should be goes before what is not.
fn part<'a, 'input>(of: Node<'a, 'input>, version: SoapVersion, name: &str) -> Option<Node<'a, 'input>> {
    let expected = match version {
        SoapVersion::V11 => None,
        SoapVersion::V12 => Some(version.namespace()),
    };
    let named = || of.children().filter(|node| node.is_element() && node.tag_name().name() == name);
    // `xmlns=""` says the same as no declaration, and no signature covers the difference.
    let is_expected = |node: &Node<'_, '_>| node.tag_name().namespace().filter(|uri| !uri.is_empty()) == expected;
    named().find(is_expected).or_else(|| named().next())
}

fn text_of(node: Node<'_, '_>) -> String {
    let texts = node.children().filter(Node::is_text).filter_map(|node| node.text());
    texts.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap::open;
    use roxmltree::Document;
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
        assert_eq!(
            (read.code.as_str(), read.text.as_str(), read.blames),
            ("Server.Busy", "Try later", Blames::Receiver)
        );
        assert_eq!(read.detail, json!({"{urn:f}Fault": {"{urn:f}Code": "Busy"}}));
        let read = fault(FAULT_12).unwrap().unwrap();
        assert_eq!((read.code.as_str(), read.text.as_str(), read.blames), ("Sender", "Wrong", Blames::Sender));
        assert_eq!(read.detail, Value::Null);
    }

    #[test]
    fn a_fault_reads_the_same_where_the_default_namespace_is_undone_once_more() {
        for place in ["<s:Body", "<s:Fault", "<faultcode", "<faultstring", "<detail"] {
            let undone = FAULT_11.replacen(place, &format!("{place} xmlns=\"\""), 1);
            assert_eq!(fault(&undone), fault(FAULT_11), "{place}");
        }
    }

    /// `faultcode` as it stands in an envelope of SOAP 1.1: code, subcodes, whom it blames.
    fn code_of(faultcode: &str) -> (String, Vec<String>, Blames) {
        let old = "<faultcode>s:Server.Busy</faultcode>";
        let read = fault(&FAULT_11.replace(old, faultcode)).unwrap().unwrap();
        (read.code, read.subcodes, read.blames)
    }

    #[test]
    fn a_fault_code_is_read_in_every_spelling() {
        let (soap, other) = (SoapVersion::V11.namespace(), SoapVersion::V12.namespace());
        let wsse = |local: &str| format!("<faultcode xmlns:w='{WSSE}'>w:{local}</faultcode>");
        for (written, code, subcodes, blames) in [
            ("<s:faultcode>s:Client</s:faultcode>".into(), "Client", &[][..], Blames::Sender),
            ("<faultcode xmlns='urn:other'>s:Client</faultcode>".into(), "Client", &[], Blames::Sender),
            (format!("<faultcode xmlns:e='{soap}'>e:Client</faultcode>"), "Client", &[], Blames::Sender),
            ("<faultcode>Client</faultcode>".into(), "Client", &[], Blames::Sender),
            ("<faultcode>unbound:Client</faultcode>".into(), "Client", &[], Blames::Sender),
            (
                "<faultcode>\n s:Client.Authentication \n</faultcode>".into(),
                "Client.Authentication",
                &["Authentication"],
                Blames::Sender,
            ),
            ("<faultcode>s:Cl<!-- -->ient</faultcode>".into(), "Client", &[], Blames::Sender),
            ("<faultcode>s:MustUnderstand</faultcode>".into(), "MustUnderstand", &[], Blames::Sender),
            ("<faultcode xmlns:x='urn:x'>x:Client</faultcode>".into(), "Client", &[], Blames::Receiver),
            ("<faultcode>s:Server</faultcode>".into(), "Server", &[], Blames::Receiver),
            (wsse("FailedAuthentication"), "FailedAuthentication", &[], Blames::Credentials),
            ("<faultcode>wsse:InvalidSecurity</faultcode>".into(), "InvalidSecurity", &[], Blames::Credentials),
            ("<faultcode/>".into(), "", &[], Blames::Receiver),
            (String::new(), "", &[], Blames::Receiver),
            ("<faultcode>s:client</faultcode>".into(), "client", &[], Blames::Sender),
            ("<faultcode>SENDER</faultcode>".into(), "SENDER", &[], Blames::Sender),
            ("<faultcode>soap:client.data</faultcode>".into(), "client.data", &["data"], Blames::Sender),
            ("<faultcode>failedcheck</faultcode>".into(), "failedcheck", &[], Blames::Credentials),
            ("<faultcode xmlns:x='urn:x'>x:client</faultcode>".into(), "client", &[], Blames::Receiver),
            (format!("<faultcode xmlns:o='{other}'>o:Sender</faultcode>"), "Sender", &[], Blames::Sender),
        ] {
            let subcodes = subcodes.iter().map(|it: &&str| (*it).to_owned()).collect();
            assert_eq!(code_of(&written), (code.to_owned(), subcodes, blames), "{written}");
        }
    }

    #[test]
    fn a_fault_that_is_built_as_the_other_version_has_it_is_read() {
        let (old, new) = (SoapVersion::V11.namespace(), SoapVersion::V12.namespace());
        for (envelope, code, text) in [(FAULT_11, "Server.Busy", "Try later"), (FAULT_12, "Sender", "Wrong")] {
            let swapped = envelope.replace(old, "urn:between").replace(new, old).replace("urn:between", new);
            let (read, expected) = (fault(&swapped).unwrap().unwrap(), fault(envelope).unwrap().unwrap());
            assert_eq!((read.code.as_str(), read.text.as_str()), (code, text));
            assert_eq!(read, expected);
        }
        // What has no code in either form keeps what it has in its own.
        let mute = FAULT_11.replace("faultcode", "x");
        assert_eq!(fault(&mute).unwrap().unwrap().text, "Try later");
    }

    #[test]
    fn nested_subcodes_are_read() {
        let nested = FAULT_12.replace(
            "</s:Code>",
            &format!(
                "<s:Subcode><s:Value xmlns:w='{WSSE}'>w:InvalidSecurityToken</s:Value><s:Subcode>\
                 <s:Value xmlns:x='urn:x'>x:Expired</s:Value></s:Subcode></s:Subcode></s:Code>"
            ),
        );
        let read = fault(&nested).unwrap().unwrap();
        assert_eq!((read.code.as_str(), read.blames), ("Sender", Blames::Credentials));
        assert_eq!(read.subcodes, ["InvalidSecurityToken", "Expired"]);
        let own = nested.replace(WSSE, "urn:own");
        assert_eq!(fault(&own).unwrap().unwrap().blames, Blames::Sender);
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
    }

    #[test]
    fn a_fault_stands_alone_wherever_it_stands() {
        for envelope in [FAULT_11, FAULT_12] {
            for (place, more) in [("</s:Body>", "<more/></s:Body>"), ("<s:Body>", "<s:Body><more/>")] {
                assert_eq!(fault(&envelope.replace(place, more)), Err(SoapRefusal::FaultNotAlone), "{more}");
            }
            // So does the other version's.
            let (one, other) = (SoapVersion::V11.namespace(), SoapVersion::V12.namespace());
            for namespace in [one, other] {
                let built = format!("<Fault xmlns='{namespace}'><faultcode xmlns=''>Client</faultcode></Fault>");
                let (before, _) = envelope.split_once("<s:Fault>").unwrap();
                let (_, after) = envelope.split_once("</s:Fault>").unwrap();
                assert_eq!(fault(&format!("{before}{built}{after}")).unwrap().unwrap().code, "Client", "{built}");
                let beside = format!("{before}<more/>{built}{after}");
                assert_eq!(fault(&beside), Err(SoapRefusal::FaultNotAlone), "{built}");
            }
        }
    }
}
