//! A sealed request comes in and is opened, for real; an answer goes out sealed, or with a flaw in its seal.

use crate::{
    adapter::{Adapter, Form, Leaf, leaves_without},
    soap,
    trust::{
        Algorithm, AnswerKind, AnswerPolicy, AnswerProfile, HttpSignatureProfile, Identity, JwsForm, JwsProfile,
        KeyIdForm, ReplayCache, Seal, SealProfile, SignedHeader, SignersAsFiles, TrustError, WssProfile,
        http_signature::{self, HttpMessage, HttpStart},
        jws, wss,
    },
    xml,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use roxmltree::Node;
use std::path::Path;

pub(super) struct AgencySeal {
    profile: SealProfile,
    /// Whose requests count: the bus's signing certificate. `None` if requests are not signed.
    policy: Option<AnswerPolicy>,
    replays: ReplayCache,
    own: Identity,
    /// Somebody else's, for answers that must not be believed.
    foreign: Option<Identity>,
}

/// A request whose signature holds.
pub(super) enum Opened {
    Soap { element: (String, String), leaves: Vec<Leaf> },
    Rest { payload: Vec<u8> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    Absent,
    Broken,
    Foreign,
    Stale,
}

/// What is not the template's, but the seal's.
const SEAL_NAMESPACES: [&str; 2] = [
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd",
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd",
];

impl AgencySeal {
    /// `folder` is the simulated agency's own, `rogue` that of somebody without its keys.
    pub fn load(adapter: &Adapter, folder: &Path, rogue: &Path, now: Timestamp) -> Result<Self, TrustError> {
        let profile = adapter.seal_profile(folder).map_err(|faults| {
            TrustError::DevPki(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        let accepted = |kind, algorithm| AnswerProfile {
            kind,
            algorithms: vec![algorithm],
            signers: SignersAsFiles::Pinned(vec![folder.join("request-signing.pem")]),
            max_clock_skew: SignedDuration::from_secs(60),
            replay_window: SignedDuration::from_secs(300),
        };
        let accepted = match &profile.seal {
            Seal::None => None,
            Seal::Wss(wss) => Some(accepted(AnswerKind::Wss, wss.algorithm)),
            Seal::Jws(JwsProfile { form: JwsForm::Compact, algorithm, .. }) => {
                Some(accepted(AnswerKind::JwsCompact, *algorithm))
            }
            Seal::Jws(JwsProfile { form: JwsForm::Detached { header }, algorithm, .. }) => {
                Some(accepted(AnswerKind::JwsDetached { header: header.clone() }, *algorithm))
            }
            Seal::HttpSignature(it) => {
                Some(accepted(AnswerKind::HttpSignature { components: it.components.clone() }, it.algorithm))
            }
        };
        let policy = accepted.map(|accepted| AnswerPolicy::load(&accepted, now)).transpose()?;
        let own = Identity::load(&folder.join("signing.pem"), &folder.join("signing.key"), now)?;
        let foreign = Identity::load(&rogue.join("signing.pem"), &rogue.join("signing.key"), now).ok();
        Ok(Self { profile, policy, replays: ReplayCache::default(), own, foreign })
    }

    /// The error says which rule the bus has broken.
    pub fn open(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Opened, String> {
        let rest = |payload: &[u8]| Ok(Opened::Rest { payload: payload.to_vec() });
        let Some(policy) = &self.policy else { return self.unsigned(body) };
        match &policy.kind {
            AnswerKind::Wss => self.open_envelope(body, policy, now),
            AnswerKind::HttpSignature { .. } => {
                let message = HttpMessage { start: HttpStart::Request { method, uri }, headers, body };
                http_signature::verify(&message, policy, now, &self.replays)
                    .map_err(|refusal| refusal.reason().to_owned())?;
                rest(body)
            }
            // A JWS is a signature of a body; a question without one comes under mutual TLS alone.
            AnswerKind::JwsCompact | AnswerKind::JwsDetached { .. } if body.is_empty() && *method == Method::GET => {
                rest(body)
            }
            AnswerKind::JwsCompact => {
                let token = str::from_utf8(body).map_err(|_| "format".to_owned())?;
                let verified =
                    jws::verify_compact(token, policy, now).map_err(|refusal| refusal.reason().to_owned())?;
                rest(&verified.payload)
            }
            AnswerKind::JwsDetached { header } => {
                let token = headers.get(header).and_then(|value| value.to_str().ok()).ok_or("missing")?;
                jws::verify_detached(token, body, policy, now).map_err(|refusal| refusal.reason().to_owned())?;
                rest(body)
            }
            AnswerKind::None => self.unsigned(body),
        }
    }

    fn unsigned(&self, body: &[u8]) -> Result<Opened, String> {
        let Ok(document) = xml::decode(body).and_then(xml::parse) else {
            return Ok(Opened::Rest { payload: body.to_vec() });
        };
        match soap::open(&document) {
            Ok(envelope) => opened(&document, envelope.body),
            Err(_) => Ok(Opened::Rest { payload: body.to_vec() }),
        }
    }

    fn open_envelope(&self, body: &[u8], policy: &AnswerPolicy, now: Timestamp) -> Result<Opened, String> {
        let document = xml::decode(body).and_then(xml::parse).map_err(|refusal| refusal.to_string())?;
        let verified =
            wss::verify(&document, policy, now, &self.replays).map_err(|refusal| refusal.reason().to_owned())?;
        let signed: Vec<_> = verified.signed.iter().filter_map(|id| document.get_node(*id)).collect();
        let Seal::Wss(profile) = &self.profile.seal else { return Err("policy-kind".to_owned()) };
        for header in &profile.sign_headers {
            if !signed.iter().any(|node| node.has_tag_name((header.namespace.as_str(), header.name.as_str()))) {
                return Err(format!("the header {} is not signed", header.name));
            }
        }
        opened(&document, document.get_node(verified.body).ok_or("no body")?)
    }

    /// The answer's headers and body as they go over the wire; `headers` are those that it has before.
    pub fn seal(
        &self,
        status: StatusCode,
        mut headers: HeaderMap,
        body: &[u8],
        flaw: Flaw,
        now: Timestamp,
    ) -> Result<(HeaderMap, Vec<u8>), String> {
        let identity = match flaw {
            Flaw::Foreign => self.foreign.as_ref().ok_or("there is no rogue's key")?,
            Flaw::None | Flaw::Absent | Flaw::Broken | Flaw::Stale => &self.own,
        };
        let now = if flaw == Flaw::Stale { now - SignedDuration::from_hours(2) } else { now };
        let algorithm = self.algorithm(identity);
        let broken = |text: String, mark: &str| if flaw == Flaw::Broken { break_after(text, mark) } else { text };
        let jws = |form| JwsProfile { algorithm, form, key_id: KeyIdForm::Serial };
        match &self.profile.answer.kind {
            _ if flaw == Flaw::Absent => Ok((headers, body.to_vec())),
            AnswerKind::None => Ok((headers, body.to_vec())),
            AnswerKind::Wss => {
                let ttl = SignedDuration::from_secs(300);
                let envelope = str::from_utf8(body).map_err(|error| error.to_string())?;
                let sign_headers = blocks(envelope);
                let profile = WssProfile { algorithm, ttl, sign_headers, must_understand: false, sign_token: false };
                let signed = wss::sign(envelope, &profile, identity, now).map_err(|error| error.to_string())?;
                Ok((headers, broken(signed, "SignatureValue>").into_bytes()))
            }
            AnswerKind::JwsCompact => {
                let token =
                    jws::sign_compact(body, &jws(JwsForm::Compact), identity).map_err(|error| error.to_string())?;
                let mark = token.rsplit_once('.').map(|(before, _)| format!("{before}.")).unwrap_or_default();
                Ok((headers, broken(token, &mark).into_bytes()))
            }
            AnswerKind::JwsDetached { header } => {
                let form = JwsForm::Detached { header: header.clone() };
                let token = jws::sign_detached(body, &jws(form), identity).map_err(|error| error.to_string())?;
                let name = http::HeaderName::from_bytes(header.as_bytes()).map_err(|error| error.to_string())?;
                headers.insert(name, header_value(&broken(token, ".."))?);
                Ok((headers, body.to_vec()))
            }
            AnswerKind::HttpSignature { components } => {
                let (label, key_id) = ("sig1".to_owned(), KeyIdForm::Serial);
                let profile =
                    HttpSignatureProfile { algorithm, label, components: components.clone(), ttl: None, key_id };
                let message = HttpMessage { start: HttpStart::Response { status }, headers: &headers.clone(), body };
                let seal =
                    http_signature::sign(&message, &profile, identity, now).map_err(|error| error.to_string())?;
                seal.insert_into(&mut headers);
                let signature =
                    headers.get("signature").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
                headers.insert("signature", header_value(&broken(signature, "=:"))?);
                Ok((headers, body.to_vec()))
            }
        }
    }

    /// The first one that the policy allows and the key can make.
    fn algorithm(&self, identity: &Identity) -> Algorithm {
        let allowed = self.profile.answer.algorithms.iter().copied();
        let fitting = allowed.into_iter().find(|algorithm| identity.signer().fits(*algorithm));
        fitting.unwrap_or_else(|| identity.signer().default_algorithm())
    }
}

fn opened(document: &roxmltree::Document<'_>, body: Node<'_, '_>) -> Result<Opened, String> {
    let element = body.first_element_child().ok_or("the Body is empty")?.tag_name();
    let element = (element.namespace().unwrap_or_default().to_owned(), element.name().to_owned());
    Ok(Opened::Soap { element, leaves: leaves_without(document, &SEAL_NAMESPACES) })
}

/// What stands in an answer's header says what it is an answer to: it is signed.
fn blocks(envelope: &str) -> Vec<SignedHeader> {
    let Ok(document) = xml::decode(envelope.as_bytes()).and_then(xml::parse) else { return Vec::new() };
    let headers = soap::open(&document).map(|envelope| envelope.headers).unwrap_or_default();
    let block = |node: Node<'_, '_>| SignedHeader {
        namespace: node.tag_name().namespace().unwrap_or_default().to_owned(),
        name: node.tag_name().name().to_owned(),
    };
    headers.into_iter().map(block).collect()
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|error| error.to_string())
}

/// Another letter in the place of the first one behind the mark.
fn break_after(text: String, mark: &str) -> String {
    let Some(at) = text.find(mark).map(|at| at + mark.len()) else { return text };
    let other = if text[at..].starts_with('A') { "B" } else { "A" };
    let rest = text[at..].chars().skip(1).collect::<String>();
    format!("{}{other}{rest}", &text[..at])
}

impl Opened {
    /// The texts of the message, once it is known what form it has.
    pub fn leaves(self, form: Form) -> Result<Vec<Leaf>, String> {
        match self {
            Opened::Soap { leaves, .. } => Ok(leaves),
            Opened::Rest { payload } => crate::adapter::leaves(form, &payload),
        }
    }
}
