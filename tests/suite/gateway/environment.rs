//! A whole gateway with its throw-away PKI, and offices that speak to it.

use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use punte::{
    adapter::{Adapters, load_adapters},
    broker::{Announcement, Broker, embedded::EmbeddedBroker},
    catalogue::{Catalogue, Schema},
    delivery::{FastPath, FastPathMode, Workers},
    domain::{Answer, Clock, Event, Office, StateName, SubmissionId, SystemClock},
    journal::{Entry, Journal, sqlite::SqliteJournal},
    kit::dev_pki,
    roles::gateway::{
        Gateway, GatewayError, GatewayParts,
        openapi::DOCUMENT,
        routes::{ROUTES, Route},
    },
    settings::{AttachmentSettings, CertificateMatch, ConfigFaults, GatewaySettings, OfficeSettings},
    submissions::{Listeners, Submissions},
    telemetry::Metrics,
    trust::{AgencyRoots, ClientTls, Identity, client_config},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

pub const SERVICE: &str = "ledger-entry";
/// A personal number of nobody, which must not turn up where it does not belong.
pub const CANARY: &str = "2009999canary";

pub struct TestEnvironment {
    pub folder: Arc<tempfile::TempDir>,
    pub pki: dev_pki::DevPki,
    pub settings: GatewaySettings,
    pub offices: Vec<OfficeSettings>,
    pub journal: Arc<dyn Journal>,
    pub broker: Arc<dyn Broker>,
    pub catalogue: Arc<Catalogue>,
    pub adapters: Arc<Adapters>,
    pub metrics: Metrics,
    pub shutdown: CancellationToken,
    pub clock: Arc<dyn Clock>,
}

/// A gateway that runs, and the environment around it.
pub struct Open {
    pub env: TestEnvironment,
    pub address: SocketAddr,
    pub reload: Arc<tokio::sync::Notify>,
    pub ended: tokio::task::JoinHandle<()>,
}

impl TestEnvironment {
    pub fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let pki = dev_pki::make(&folder.path().join("pki"), &[], Timestamp::now()).unwrap();
        let mut faults = ConfigFaults::default();
        write_service(&folder.path().join("services"));
        write_adapter(&folder.path().join("adapters"));
        let catalogue = Catalogue::load(&folder.path().join("services"), &mut faults);
        let adapters = load_adapters(&folder.path().join("adapters"), &catalogue, &BTreeMap::new(), &mut faults);
        assert!(faults.is_empty(), "{faults}");
        let offices = ["causeni", "shkoder"].map(|name| office(name, &pki)).to_vec();
        Self {
            settings: settings(&pki, folder.path()),
            journal: Arc::new(SqliteJournal::open(&folder.path().join("journal.db")).unwrap()),
            broker: Arc::new(EmbeddedBroker::default()),
            catalogue: Arc::new(catalogue),
            adapters: Arc::new(adapters),
            metrics: Metrics::new(),
            shutdown: CancellationToken::new(),
            clock: Arc::new(SystemClock),
            offices,
            pki,
            folder,
        }
    }

    pub async fn try_open(&self) -> Result<Gateway, GatewayError> {
        let fast_path = Arc::new(FastPath::new(Workers::Elsewhere, FastPathMode::On));
        let listeners = Listeners {
            broker: self.broker.clone(),
            waiters: fast_path.waiters(),
            metrics: self.metrics.clone(),
            outbox_filled: Arc::default(),
        };
        Gateway::start(GatewayParts {
            submissions: Submissions::serving(self.journal.clone(), self.clock.clone(), listeners),
            settings: self.settings.clone(),
            offices: self.offices.clone(),
            journal: self.journal.clone(),
            broker: self.broker.clone(),
            catalogue: self.catalogue.clone(),
            adapters: self.adapters.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            shutdown: self.shutdown.clone(),
            grace: Duration::from_secs(5),
            dispatch: None,
            fast_path,
        })
        .await
    }

    pub async fn open(self) -> Open {
        let Gateway { address, reload, ended, .. } = self.try_open().await.unwrap();
        Open { env: self, address, reload, ended }
    }
}

pub async fn open() -> Open {
    TestEnvironment::new().open().await
}

impl Open {
    /// An office of the demo's PKI, over HTTP/1.1.
    pub fn office(&self, name: &str) -> OfficeClient {
        self.client(Some(self.identity(name)), &[b"http/1.1"])
    }

    pub fn identity(&self, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
        (self.env.pki.office(&format!("{name}.pem")), self.env.pki.office(&format!("{name}.key")))
    }

    pub fn client(&self, identity: Option<(std::path::PathBuf, std::path::PathBuf)>, alpn: &[&[u8]]) -> OfficeClient {
        let roots = AgencyRoots::load(&self.env.pki.gateway("server-ca.pem")).unwrap();
        // An identity of ours would not load with an expired certificate; theirs is shown all the same.
        let long_ago = |files: &(std::path::PathBuf, std::path::PathBuf)| {
            [0, -48, 48].iter().find_map(|hours| {
                let at = Timestamp::now() + jiff::SignedDuration::from_hours(*hours);
                Identity::load(&files.0, &files.1, at).ok()
            })
        };
        let identity = identity.as_ref().map(|files| long_ago(files).unwrap());
        let tls =
            client_config(&roots, ClientTls { identity: identity.as_ref(), alpn, ..ClientTls::default() }).unwrap();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap();
        OfficeClient { client, base: format!("https://localhost:{}", self.address.port()) }
    }

    /// What a worker would do: the agency takes it and answers.
    pub async fn settle(&self, id: SubmissionId, answer: Value) {
        let at = Timestamp::now();
        let lease_until = at + jiff::SignedDuration::from_secs(60);
        let entry = |event| Entry::new(event, at);
        self.env.journal.record(id, entry(Event::Begun { attempt: 1, lease_until, asks_first: true })).await.unwrap();
        let answered = Event::Answered { attempt: 1, answer: Answer(answer) };
        self.env.journal.record(id, entry(answered)).await.unwrap();
    }

    pub async fn announce(&self, id: SubmissionId, state: StateName) {
        let submission = self.env.journal.find(id).await.unwrap().unwrap().submission;
        let announcement = Announcement {
            submission: id,
            office: submission.office,
            agency: submission.agency,
            service: submission.service,
            state,
            at: Timestamp::now(),
            trace: submission.trace,
        };
        self.env.broker.announce(&announcement).await.unwrap();
    }

    pub async fn close(self) -> TestEnvironment {
        self.env.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.ended).await.unwrap().unwrap();
        self.env
    }
}

/// A client that holds every answer against the API's document.
#[derive(Clone)]
pub struct OfficeClient {
    pub client: reqwest::Client,
    pub base: String,
}

#[derive(Debug, Clone)]
pub struct Said {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Null if the body is not JSON.
    pub json: Value,
    pub text: String,
}

impl Said {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|field| field.to_str().unwrap())
    }

    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> SubmissionId {
        self.json["id"].as_str().unwrap().parse().unwrap()
    }

    /// The places of a problem's errors.
    pub fn pointers(&self) -> Vec<&str> {
        let errors = self.json["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut pointers: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        pointers.sort_unstable();
        pointers
    }
}

impl OfficeClient {
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Said {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, key: &str, body: &Value) -> Said {
        self.send(self.posting(key, body.to_string())).await
    }

    pub fn posting(&self, key: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        let request = self.request(Method::POST, "/v1/submissions").header("idempotency-key", key);
        request.header("content-type", "application/json").body(body)
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Said {
        let request = request.build().unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let answer = self.client.execute(request).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let said = Said { status, headers, json: serde_json::from_str(&text).unwrap_or_default(), text };
        check(&method, &path, &said);
        said
    }
}

/// The answer must be one that the document describes for this operation.
pub fn check(method: &Method, path: &str, said: &Said) {
    assert_eq!(said.header("cache-control"), Some("no-store"));
    assert_eq!(said.header("x-content-type-options"), Some("nosniff"));
    assert!(said.header("traceparent").is_some());
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let media_type = said.header("content-type").unwrap_or_default();
    let schema = match route_of(method, path) {
        Some(route) => {
            let operation = &document["paths"][route.path][method.as_str().to_lowercase()];
            let mut response = &operation["responses"][said.status.as_str()];
            if let Some(reference) = response["$ref"].as_str() {
                response = document.pointer(&reference[1..]).unwrap();
            }
            assert!(response.is_object(), "{method} {} answered {}, undocumented", route.path, said.status);
            let headers = &response["headers"];
            for (name, _) in headers.as_object().into_iter().flatten().filter(|(_, it)| it["required"] == true) {
                assert!(said.header(name).is_some(), "{method} {} {}: no {name}", route.path, said.status);
            }
            let is_told = said.header("retry-after").is_none() || headers["Retry-After"].is_object();
            assert!(is_told, "{method} {} {}: Retry-After is undocumented", route.path, said.status);
            if said.status == StatusCode::NO_CONTENT {
                return;
            }
            let content = &response["content"][media_type]["schema"];
            assert!(content.is_object(), "{method} {} {}: {media_type}", route.path, said.status);
            content.clone()
        }
        None => json!({"$ref": "#/components/schemas/Problem"}),
    };
    let value = if media_type.ends_with("json") { said.json.clone() } else { Value::String(said.text.clone()) };
    let schema = Schema::compile(json!({"allOf": [schema], "components": document["components"]})).unwrap();
    let faults = schema.faults(&value);
    assert!(faults.is_empty(), "{method} {path} {}: {faults:?} in {}", said.status, said.text);
}

pub fn route_of(method: &Method, path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.method == *method && fits(route.path, path))
}

/// A parameter in braces stands for one segment that is not empty.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    let is_like = |(wanted, have): (&&str, &&str)| wanted == have || (wanted.starts_with('{') && !have.is_empty());
    pattern.len() == path.len() && pattern.iter().zip(&path).all(is_like)
}

pub fn submission_request() -> Value {
    json!({
        "service": SERVICE,
        "context": {"clerk": "clerk-1", "entity": "town hall", "legal_basis": "act 7", "reason": "application 8"},
        "subject": {"scheme": "personal-number", "id": CANARY},
        "data": {"copies": 2}
    })
}

pub fn office(name: &str, _: &dev_pki::DevPki) -> OfficeSettings {
    let identifier = dev_pki::OFFICES.iter().find(|(office, _)| *office == name).unwrap().1;
    OfficeSettings {
        office: Office {
            name: name.parse().unwrap(),
            services: [SERVICE.parse().unwrap()].into(),
            requests_per_minute: 100_000,
            has_webhook: false,
        },
        title: name.into(),
        certificates: vec![CertificateMatch {
            organization_identifier: Some(identifier.into()),
            ..CertificateMatch::default()
        }],
        webhook: None,
    }
}

fn settings(pki: &dev_pki::DevPki, folder: &Path) -> GatewaySettings {
    GatewaySettings {
        listen: ([127, 0, 0, 1], 0).into(),
        certificate: pki.gateway("server.pem"),
        key: pki.gateway("server.key"),
        client_ca: vec![pki.gateway("office-ca.pem")],
        client_crl: vec![pki.gateway("office.crl")],
        max_connections: 500,
        handshake_timeout: Duration::from_secs(10),
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(10),
        max_body_bytes: 64 << 10,
        max_memory_bytes: 8 << 20,
        max_requests: 500,
        max_waits: 4000,
        attachments: AttachmentSettings {
            folder: folder.join("attachments"),
            max_bytes: 100_000,
            max_unused_bytes_per_office: 1_000_000,
            max_stored_bytes_per_office: 3_000_000,
            max_stored_bytes: 5_000_000,
            media_types: ["application/pdf", "application/xml"].map(str::to_owned).into(),
        },
    }
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn write_service(folder: &Path) {
    let folder = folder.join(SERVICE);
    write(
        &folder.join("service.toml"),
        "[titles]\nen = \"Entry in the ledger\"\nmk = \"Запис\"\n[attachments]\nat_most = 3\nmax_total_bytes = 280_000\n\
         [subject]\npersonal-number = \"[0-9]{7}(canary)?\"\n",
    );
    let request = json!({
        "type": "object",
        "properties": {"copies": {"type": "integer", "minimum": 1}, "note": {"type": "string", "maxLength": 20}},
        "required": ["copies"],
        "additionalProperties": false
    });
    write(&folder.join("request.schema.json"), request.to_string());
    let answer = json!({"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]});
    write(&folder.join("answer.schema.json"), answer.to_string());
}

fn write_adapter(folder: &Path) {
    let folder = folder.join("ledger");
    let agency = format!(
        "title = 'Ledger'\nprotocol = 'rest'\nendpoint = 'https://ledger.example/api'\n[seal]\nkind = 'none'\nanswer.kind = 'none'\n\
         [operations.{SERVICE}]\neffect = 'idempotent'\ndeadline_secs = 3600\npath = '/entries'\n\
         correlates = {{ cannot = 'this ledger numbers its entries and repeats nothing' }}\n"
    );
    write(&folder.join("agency.toml"), agency);
    let operation = folder.join(SERVICE);
    write(
        &operation.join("request.json"),
        "{\"reference\": {{ reference }}, \"copies\": {{ data.copies }}, \"papers\": {{ attachments|map(attribute='sha256')|list }}}\n",
    );
    write(&operation.join("answer.jq"), "{answer: {number: .body.number}}\n");
    let example = operation.join("examples/entered");
    let id = "01990000-0000-7000-8000-000000000011";
    let mut request = submission_request();
    request["id"] = id.into();
    request["office"] = "causeni".into();
    request["accepted_at"] = "2026-03-02T08:30:00Z".into();
    write(&example.join("request.json"), request.to_string());
    write(&example.join("wire-request.json"), json!({"reference": id, "copies": 2, "papers": []}).to_string());
    write(&example.join("wire-answer.json"), json!({"number": "L-1"}).to_string());
    write(&example.join("answer.json"), json!({"answer": {"number": "L-1"}}).to_string());
}
