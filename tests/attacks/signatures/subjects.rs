//! Valid answers of every kind, signed as an agency signs them; how each is judged and what it means.

use super::{mangle::Form, profile};
use crate::pki::{agency_signer, now, policy};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use punte::{
    soap::{self, XmlToJson},
    trust::{
        Algorithm, AnswerKind, AnswerPolicy, HttpSignatureProfile, JwsForm, JwsProfile, KeyIdForm, ReplayCache,
        http_signature::{self, HttpMessage, HttpStart},
        jws, wss,
    },
    xml,
};
use std::collections::BTreeMap;

const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";

pub struct Subject {
    pub name: &'static str,
    pub form: Form,
    pub message: Vec<u8>,
    /// What the office's answer is made from: nothing else may differ from it.
    pub meaning: Vec<u8>,
    policy: AnswerPolicy,
}

impl Subject {
    pub fn all() -> Vec<Self> {
        let soap = std::fs::read_to_string(
            "adapters/civil-registry/person-lookup/examples/found-with-address/wire-answer.xml",
        );
        let soap = soap.unwrap();
        let wss = |name, agency: &str, algorithm, text: &str| {
            let signed = wss::sign(text, &profile(algorithm), &agency_signer(agency), now()).unwrap();
            Self::new(name, Form::Xml, signed.into_bytes(), policy(agency, AnswerKind::Wss))
        };
        let fault = std::fs::read_to_string(
            "adapters/civil-registry/person-lookup/examples/refused-no-such-person/wire-answer.xml",
        );
        vec![
            wss("soap-1.1, P-256", "rest", Algorithm::EcdsaSha256, &soap),
            wss("soap-1.2, P-256", "rest", Algorithm::EcdsaSha256, &soap.replace(SOAP11, SOAP12)),
            wss("soap-1.1, RSA", "soap", Algorithm::RsaSha256, &soap),
            wss("soap-1.1, fault", "rest", Algorithm::EcdsaSha256, &fault.unwrap()),
            compact(),
            detached(),
            http(),
        ]
    }

    fn new(name: &'static str, form: Form, message: Vec<u8>, policy: AnswerPolicy) -> Self {
        let mut subject = Self { name, form, message, meaning: Vec::new(), policy };
        subject.meaning = subject.judge(&subject.message).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        subject
    }

    /// The meaning, or the reason for the refusal. A replay cache of its own: each mutant is a message seen first.
    pub fn judge(&self, message: &[u8]) -> Result<Vec<u8>, &'static str> {
        match &self.policy.kind {
            AnswerKind::Wss => self.judge_soap(message),
            AnswerKind::JwsCompact => {
                let token = str::from_utf8(message).map_err(|_| "format")?;
                let verified = jws::verify_compact(token, &self.policy, now()).map_err(|refusal| refusal.reason())?;
                Ok(verified.payload)
            }
            AnswerKind::JwsDetached { header } => {
                let (_, headers, body) = opened(message).ok_or("format")?;
                let token = headers.get(header).and_then(|token| token.to_str().ok()).ok_or("missing")?;
                let verified =
                    jws::verify_detached(token, body, &self.policy, now()).map_err(|refusal| refusal.reason())?;
                Ok(verified.payload)
            }
            AnswerKind::HttpSignature { .. } => {
                let (status, headers, body) = opened(message).ok_or("format")?;
                let response = HttpMessage { start: HttpStart::Response { status }, headers: &headers, body };
                http_signature::verify(&response, &self.policy, now(), &ReplayCache::default())
                    .map_err(|refusal| refusal.reason())?;
                Ok([status.as_str().as_bytes(), body].concat())
            }
            AnswerKind::None => Err("unsigned"),
        }
    }

    /// The canonical Body, and what filters see of it and of a fault in it.
    fn judge_soap(&self, message: &[u8]) -> Result<Vec<u8>, &'static str> {
        let document = xml::decode(message).and_then(xml::parse).map_err(|_| "xml")?;
        let verified = wss::verify(&document, &self.policy, now(), &ReplayCache::default());
        let verified = verified.map_err(|refusal| refusal.reason())?;
        let body = document.get_node(verified.body).unwrap();
        assert_eq!(soap::open(&document).unwrap().body, body, "what was verified is what is read");
        let namespaces = BTreeMap::from([("cr".to_owned(), "urn:example:civil-registry:1".to_owned())]);
        let names = XmlToJson::new(&namespaces, ["cr:Citizenship".to_owned()]);
        let mut meaning = verified.created.to_string().into_bytes();
        xml::canonicalize(body, &[], &mut meaning);
        meaning.extend(names.children(body).unwrap().to_string().into_bytes());
        if let Some(fault) = soap::read_fault(body, &names).unwrap() {
            meaning.extend(format!("{} {} {}", fault.code, fault.text, fault.detail).into_bytes());
        }
        Ok(meaning)
    }
}

const PAYLOAD: &[u8] = br#"{"status":"registered","reference":"0199f2a4-7c11-7000-8000-000000000001","amount":12}"#;

fn compact() -> Subject {
    let token = jws::sign_compact(PAYLOAD, &jws_profile(JwsForm::Compact), &agency_signer("rest")).unwrap();
    Subject::new("JWS, compact", Form::Token, token.into_bytes(), policy("rest", AnswerKind::JwsCompact))
}

fn detached() -> Subject {
    let form = JwsForm::Detached { header: "x-jws-signature".into() };
    let token = jws::sign_detached(PAYLOAD, &jws_profile(form), &agency_signer("rest")).unwrap();
    let mut headers =
        HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    headers.insert("x-jws-signature", HeaderValue::from_str(&token).unwrap());
    let kind = AnswerKind::JwsDetached { header: "x-jws-signature".into() };
    Subject::new("JWS, detached", Form::Http, written(&headers), policy("rest", kind))
}

fn http() -> Subject {
    let components = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let how = HttpSignatureProfile {
        algorithm: Algorithm::EcdsaSha256,
        label: "sig1".into(),
        components: components(&["@status", "content-type", "content-digest"]),
        ttl: Some(jiff::SignedDuration::from_secs(60)),
        key_id: KeyIdForm::Thumbprint,
    };
    let mut headers =
        HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let unsigned = headers.clone();
    let message =
        HttpMessage { start: HttpStart::Response { status: StatusCode::OK }, headers: &unsigned, body: PAYLOAD };
    http_signature::sign(&message, &how, &agency_signer("rest"), now()).unwrap().insert_into(&mut headers);
    let kind = AnswerKind::HttpSignature { components: components(&["@status", "content-digest"]) };
    Subject::new("HTTP signature", Form::Http, written(&headers), policy("rest", kind))
}

fn jws_profile(form: JwsForm) -> JwsProfile {
    JwsProfile { algorithm: Algorithm::EcdsaSha256, form, key_id: KeyIdForm::Serial }
}

fn written(headers: &HeaderMap) -> Vec<u8> {
    let mut text = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in headers {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    [text.as_slice(), b"\r\n", PAYLOAD].concat()
}

/// As an HTTP client would hand it over: what is no header line never gets to the verifier.
fn opened(message: &[u8]) -> Option<(StatusCode, HeaderMap, &[u8])> {
    let end = message.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut lines = message[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let start = lines.next()?.strip_prefix(b"HTTP/1.1 ")?;
    let status = StatusCode::from_bytes(start.get(..3)?).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        headers.append(HeaderName::from_bytes(&line[..colon]).ok()?, value);
    }
    Some((status, headers, &message[end + 4..]))
}
