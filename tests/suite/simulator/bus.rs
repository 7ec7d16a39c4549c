//! A client that is built from the same rooms as the bus but is not the bus: what the simulated agencies are tried with.

use http::HeaderMap;
use jiff::Timestamp;
use punte::{
    adapter::{Adapter, Example, Exchange, Form, Mapped, TransformInput, WireAnswer, WireRequest},
    domain::{ServiceName, SubmissionId},
    kit::{
        dev_pki::{self, DevAgency, DevPki},
        simulator::{Simulator, SimulatorPlan, adapter_of},
    },
    trust::{
        AgencyRoots, Algorithm, AnswerKind, AnswerPolicy, ClientTls, Identity, JwsForm, JwsProfile, ReplayCache, Seal,
        SealProfile, client_config,
        http_signature::{self, HttpMessage, HttpStart},
        jws, wss,
    },
    xml,
};
use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tempfile::TempDir;

pub const REGISTRY: &str = "civil-registry";
pub const EVENTS: &str = "legal-events";

pub fn pki() -> &'static DevPki {
    static MADE: OnceLock<(DevPki, TempDir)> = OnceLock::new();
    let (pki, _) = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let agencies = [REGISTRY, EVENTS].map(|name| DevAgency { name: name.into(), signing: Algorithm::RsaSha256 });
        (dev_pki::make(folder.path(), &agencies, Timestamp::now()).unwrap(), folder)
    });
    pki
}

pub fn adapter(agency: &str) -> Arc<Adapter> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    adapter_of(&root.join("adapters"), &root.join("schemas/services"), &agency.parse().unwrap()).unwrap()
}

/// The bus's side.
pub struct Bus {
    pub simulator: Simulator,
    pub client: reqwest::Client,
    pub signing: Identity,
    pub profile: SealProfile,
    pub policy: AnswerPolicy,
    pub replays: ReplayCache,
}

/// What came back, and whether it may be believed.
pub enum Met {
    Broken,
    Status(u16),
    NotTyped,
    TooLarge,
    Unbelieved(String),
    Answer(Box<(Mapped, String)>),
}

impl std::fmt::Display for Met {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Met::Broken => f.write_str("broken"),
            Met::Status(code) => write!(f, "status {code}"),
            Met::NotTyped => f.write_str("another type"),
            Met::TooLarge => f.write_str("too large"),
            Met::Unbelieved(reason) => write!(f, "unbelieved: {reason}"),
            Met::Answer(answer) => write!(f, "{:?} {}", answer.0, answer.1),
        }
    }
}

impl Bus {
    pub async fn towards(agency: &str) -> Self {
        Self::with(SimulatorPlan::new(adapter(agency), &pki().dir)).await
    }

    pub async fn with(plan: SimulatorPlan) -> Self {
        let now = Timestamp::now();
        let simulator = Simulator::start(plan).await.unwrap();
        let agency = simulator.adapter().agency.clone();
        let file = |name: &str| pki().agency(agency.as_str(), name);
        let profile = simulator.adapter().seal_profile(&file("")).unwrap();
        Self {
            client: client(
                agency.as_str(),
                Some(&Identity::load(&file("client.pem"), &file("client.key"), now).unwrap()),
            ),
            signing: Identity::load(&file("signing.pem"), &file("signing.key"), now).unwrap(),
            policy: AnswerPolicy::load(&profile.answer, now).unwrap(),
            replays: ReplayCache::default(),
            profile,
            simulator,
        }
    }

    pub fn example(&self, service: &str, name: &str) -> &Example {
        let service: ServiceName = service.parse().unwrap();
        let operation = &self.simulator.adapter().operations[&service];
        operation.examples.iter().find(|example| example.name == name).unwrap()
    }

    pub fn exchange(&self, service: &str) -> &Exchange {
        &self.simulator.adapter().operations[&service.parse::<ServiceName>().unwrap()].request
    }

    pub fn lookup(&self, service: &str) -> &Exchange {
        self.simulator.adapter().operations[&service.parse::<ServiceName>().unwrap()].lookup.as_ref().unwrap()
    }

    /// The example's request under a new reference, so that tests do not meet each other's effects.
    pub fn request(&self, exchange: &Exchange, example: &Example, reference: SubmissionId) -> WireRequest {
        let mut submission = example.submission.clone();
        submission.id = reference;
        exchange.compose(&TransformInput { submission: &submission, ..example.input() }).unwrap()
    }

    pub fn seal(&self, request: &WireRequest) -> Vec<u8> {
        match &self.profile.seal {
            Seal::Wss(profile) => {
                let envelope = str::from_utf8(&request.body).unwrap();
                wss::sign(envelope, profile, &self.signing, Timestamp::now()).unwrap().into_bytes()
            }
            Seal::Jws(_) if request.body.is_empty() => Vec::new(),
            Seal::Jws(JwsProfile { form: JwsForm::Detached { .. }, .. }) | Seal::HttpSignature(_) => {
                request.body.clone()
            }
            Seal::Jws(profile) => jws::sign_compact(&request.body, profile, &self.signing).unwrap().into_bytes(),
            Seal::None => panic!("nothing is unsigned here"),
        }
    }

    /// What some seals put beside the body.
    pub fn seal_headers(&self, method: &http::Method, url: &str, headers: &HeaderMap, body: &[u8]) -> HeaderMap {
        let mut sealed = HeaderMap::new();
        match &self.profile.seal {
            Seal::Jws(profile @ JwsProfile { form: JwsForm::Detached { header }, .. }) if !body.is_empty() => {
                let token = jws::sign_detached(body, profile, &self.signing).unwrap();
                sealed.insert(http::HeaderName::from_bytes(header.as_bytes()).unwrap(), token.parse().unwrap());
            }
            Seal::HttpSignature(profile) => {
                let uri = url.parse().unwrap();
                let message = HttpMessage { start: HttpStart::Request { method, uri: &uri }, headers, body };
                let seal = http_signature::sign(&message, profile, &self.signing, Timestamp::now()).unwrap();
                seal.insert_into(&mut sealed);
            }
            Seal::Jws(_) | Seal::Wss(_) | Seal::None => {}
        }
        sealed
    }

    pub async fn send(&self, request: &WireRequest, body: Vec<u8>) -> Result<reqwest::Response, reqwest::Error> {
        let path = request.url.path().strip_prefix(self.simulator.adapter().endpoint.path()).unwrap();
        let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let url = format!("{}{path}{query}", self.simulator.endpoint());
        let mut headers = request.headers.clone();
        headers.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap());
        if !request.media_type.is_empty() {
            headers.insert("content-type", request.media_type.parse().unwrap());
        }
        headers.extend(self.seal_headers(&request.method, &url, &headers, &body));
        self.client.request(request.method.clone(), url).headers(headers).body(body).send().await
    }

    pub async fn ask(&self, exchange: &Exchange, example: &Example, reference: SubmissionId) -> Met {
        let request = self.request(exchange, example, reference);
        let Ok(response) = self.send(&request, self.seal(&request)).await else { return Met::Broken };
        self.read(exchange, response, reference).await
    }

    pub async fn read(&self, exchange: &Exchange, response: reqwest::Response, reference: SubmissionId) -> Met {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        if text("content-type") == "text/plain" {
            return Met::Status(status);
        }
        if !exchange.expects().is_media_type(&text("content-type")) {
            return Met::NotTyped;
        }
        let Ok(body) = response.bytes().await else { return Met::Broken };
        if body.len() > self.simulator.adapter().limits.answer_max_bytes {
            return Met::TooLarge;
        }
        let answer = match exchange.expects() {
            Form::Xml => self.open_envelope(exchange, &body),
            Form::Json => self.open_json(status, &body, &headers),
        };
        match answer {
            Ok((answer, covered)) => {
                let answer = answer.with_head(exchange.coverage(), status, &headers, &covered);
                let code = answer.soap_fault.as_ref().map(|fault| fault.code.clone()).unwrap_or_default();
                Met::Answer(Box::new((exchange.interpret(&answer, &reference.to_string()).unwrap(), code)))
            }
            Err(reason) => Met::Unbelieved(reason),
        }
    }

    pub fn open_envelope(&self, exchange: &Exchange, body: &[u8]) -> Result<(WireAnswer, Vec<String>), String> {
        let document = xml::decode(body).and_then(xml::parse).map_err(|_| "not xml".to_owned())?;
        let verified = wss::verify(&document, &self.policy, Timestamp::now(), &self.replays);
        let verified = verified.map_err(|refusal| refusal.reason().to_owned())?;
        let headers = punte::soap::open(&document).unwrap().headers;
        let body = document.get_node(verified.body).unwrap();
        let is_signed = |node: &roxmltree::Node<'_, '_>| verified.signed.contains(&node.id());
        Ok((exchange.answer_of_envelope(body, &headers, is_signed).unwrap(), Vec::new()))
    }

    pub fn open_json(
        &self,
        status: u16,
        body: &[u8],
        headers: &HeaderMap,
    ) -> Result<(WireAnswer, Vec<String>), String> {
        let (policy, now) = (&self.policy, Timestamp::now());
        let mut covered = Vec::new();
        let body = match &policy.kind {
            AnswerKind::JwsDetached { header } => {
                let token = headers.get(header).map(|value| value.to_str().unwrap()).unwrap_or_default();
                jws::verify_detached(token, body, policy, now).map_err(|refusal| refusal.reason().to_owned())?.payload
            }
            AnswerKind::JwsCompact => {
                let token = str::from_utf8(body).map_err(|_| "not text".to_owned())?;
                jws::verify_compact(token, policy, now).map_err(|refusal| refusal.reason().to_owned())?.payload
            }
            AnswerKind::HttpSignature { .. } => {
                let start = HttpStart::Response { status: http::StatusCode::from_u16(status).unwrap() };
                let message = HttpMessage { start, headers, body };
                let verified = http_signature::verify(&message, policy, now, &self.replays);
                covered = verified.map_err(|refusal| refusal.reason().to_owned())?.covered;
                body.to_vec()
            }
            AnswerKind::Wss | AnswerKind::None => panic!("JSON is signed otherwise"),
        };
        let answer = WireAnswer::from_json(&body).map_err(|_| "not json".to_owned())?;
        Ok((answer, covered))
    }
}

pub fn client(agency: &str, identity: Option<&Identity>) -> reqwest::Client {
    let roots = AgencyRoots::load(&pki().agency(agency, "ca.pem")).unwrap();
    let tls = client_config(&roots, ClientTls { identity, ..ClientTls::default() }).unwrap();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(Duration::from_secs(5));
    builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

pub fn answered(met: Met) -> Mapped {
    match met {
        Met::Answer(answer) => answer.0,
        other => panic!("{other}"),
    }
}

/// The repository's agencies with one text replaced in all their files.
pub fn changed(replacements: &[(&str, &str)]) -> TempDir {
    fn copy(from: &Path, to: &Path, replacements: &[(&str, &str)]) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().flatten() {
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target, replacements);
            } else {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                let text = replacements.iter().fold(text, |text, (old, new)| text.replace(old, new));
                std::fs::write(target, text).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters"), folder.path(), replacements);
    folder
}
