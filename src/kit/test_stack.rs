//! A whole installation and its surroundings in one process: adapters and a plan come in; a running gateway, worker and
//! simulated agencies go out, on free ports, with throw-away keys. The demo and the tests stand on it.

use super::{
    dev_agencies, dev_pki,
    simulator::{Simulator, SimulatorError},
};
use crate::{
    adapter::Protocol,
    delivery::FastPathMode,
    domain::{AgencyName, Clock, SystemClock},
    process::{Installation, Process, Role, StartError},
    settings::ConfigFaults,
    trust::{AgencyRoots, ClientTls, Identity, TrustError, client_config},
};
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

pub struct TestStack {
    pub folder: TempDir,
    /// `None` before it has been started, and while it is stopped.
    process: Option<Process>,
    pub simulators: BTreeMap<AgencyName, Simulator>,
    pub protocols: BTreeMap<AgencyName, Protocol>,
    clock: Arc<dyn Clock>,
    fast_path: FastPathMode,
}

/// What is not as it always is.
pub struct TestStackPlan {
    pub adapters: PathBuf,
    pub services: PathBuf,
    /// The `[journal]` table's url; `None`: SQLite in the stack's folder.
    pub journal_url: Option<String>,
    /// RabbitMQ's URI and the prefix of all names in it; `None`: the embedded broker.
    pub rabbitmq: Option<(String, String)>,
    /// How quickly agencies are tried again: TOML lines of a `[retry]` table.
    pub retry: &'static str,
    /// More TOML for `punte.toml`.
    pub more_config: String,
    /// More TOML for the office's entry in `offices.toml`, after its certificates.
    pub more_office: String,
    pub clock: Arc<dyn Clock>,
    pub fast_path: FastPathMode,
    /// Agencies that are not simulated here: what starts each with the keys of the folder that it is given.
    pub external_agencies: BTreeMap<AgencyName, StartExternalAgency>,
}

/// Gives the endpoint of the agency that it has started.
pub type StartExternalAgency = Box<dyn FnOnce(&Path) -> String + Send>;

#[derive(Debug, thiserror::Error)]
pub enum TestStackError {
    #[error("{}: {error}; run this in the project's folder, or name that folder with --project", path.display())]
    Project { path: PathBuf, error: std::io::Error },
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Config(#[from] ConfigFaults),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Simulator(#[from] SimulatorError),
    #[error("HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// The office whose certificate the stack's HTTP client shows.
pub const OFFICE: &str = "causeni";

/// Quick, because somebody is watching.
pub const QUICK_RETRY: &str =
    "first_wait_secs = 0.4\nmax_wait_secs = 1\nmax_attempts = 3\nmax_retry_after_secs = 2\njitter = 0.1\n";

impl TestStackPlan {
    /// The adapters and services of a project folder, SQLite, the embedded broker.
    pub fn of_project(project: &Path) -> Self {
        Self {
            adapters: project.join("adapters"),
            services: project.join("schemas/services"),
            journal_url: None,
            rabbitmq: None,
            retry: QUICK_RETRY,
            more_config: String::new(),
            more_office: String::new(),
            clock: Arc::new(SystemClock),
            fast_path: FastPathMode::On,
            external_agencies: BTreeMap::new(),
        }
    }
}

impl TestStack {
    pub async fn started(plan: TestStackPlan) -> Result<Self, TestStackError> {
        let mut stack = Self::prepare(plan).await?;
        stack.start().await?;
        Ok(stack)
    }

    /// Keys, configuration and simulated agencies; the process is somebody else's, or begins with [`TestStack::start`].
    pub async fn prepare(plan: TestStackPlan) -> Result<Self, TestStackError> {
        let mut plan =
            TestStackPlan { adapters: absolute(&plan.adapters)?, services: absolute(&plan.services)?, ..plan };
        let folder =
            tempfile::Builder::new().prefix("punte-test-stack.").tempdir().map_err(|error| at("temporary", error))?;
        let keys = dev_agencies(&plan.adapters).map_err(|error| at(&plan.adapters, error))?;
        let agencies = keys.iter().filter_map(|agency| agency.name.parse::<AgencyName>().ok()).collect::<Vec<_>>();
        let secrets = folder.path().join("secrets");
        dev_pki::make(&secrets, &keys, Timestamp::now())?;
        let (mut simulators, mut endpoints) = (BTreeMap::new(), BTreeMap::new());
        for agency in agencies {
            if let Some(start) = plan.external_agencies.remove(&agency) {
                endpoints.insert(agency.clone(), start(&secrets.join("simulators").join(agency.as_str())));
                continue;
            }
            let simulator = Simulator::of_folder(&plan.adapters, &plan.services, &agency, &secrets).await?;
            endpoints.insert(agency.clone(), simulator.endpoint());
            simulators.insert(agency, simulator);
        }
        write(&folder.path().join("punte.toml"), &config(&plan, &endpoints))?;
        write(&folder.path().join("offices.toml"), &offices(&plan))?;
        Ok(Self {
            folder,
            process: None,
            simulators,
            protocols: BTreeMap::new(),
            clock: plan.clock.clone(),
            fast_path: plan.fast_path,
        })
    }

    /// Begins the process, or begins it again with the journal that is there.
    pub async fn start(&mut self) -> Result<(), TestStackError> {
        let mut installation = Installation::load(&self.config(), Timestamp::now())?;
        self.protocols = installation.adapters.iter().map(|it| (it.agency.clone(), it.protocol)).collect();
        installation.fast_path = self.fast_path;
        self.process = Some(Process::start(installation, &Role::ALL, self.clock.clone()).await?);
        Ok(())
    }

    pub async fn stop(&mut self, grace: Duration) {
        if let Some(process) = self.process.take() {
            process.stop(grace).await;
        }
    }

    pub async fn end(mut self, grace: Duration) {
        self.stop(grace).await;
        for (_, simulator) in std::mem::take(&mut self.simulators) {
            simulator.stop().await;
        }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("punte.toml")
    }

    pub fn secrets(&self) -> PathBuf {
        self.folder.path().join("secrets")
    }

    /// `None` while it is stopped.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Where offices reach the gateway; empty while it is stopped.
    pub fn gateway(&self) -> String {
        let address = self.process.as_ref().and_then(|process| process.gateway_address);
        address.map_or_else(String::new, |address| format!("https://localhost:{}", address.port()))
    }

    /// A town hall's HTTP client, with this office's certificate.
    pub fn client(&self, office: &str) -> Result<reqwest::Client, TestStackError> {
        let offices = self.secrets().join("offices");
        let (certificate, key) = (offices.join(format!("{office}.pem")), offices.join(format!("{office}.key")));
        let identity = Identity::load(&certificate, &key, Timestamp::now())?;
        let roots = AgencyRoots::load(&self.secrets().join("gateway/server-ca.pem"))?;
        let tls = client_config(&roots, ClientTls { identity: Some(&identity), ..ClientTls::default() })?;
        Ok(reqwest::Client::builder().tls_backend_preconfigured(tls).https_only(true).no_proxy().build()?)
    }
}

fn at(path: impl Into<PathBuf>, error: std::io::Error) -> TestStackError {
    TestStackError::File { path: path.into(), error }
}

fn absolute(path: &Path) -> Result<PathBuf, TestStackError> {
    path.canonicalize().map_err(|error| TestStackError::Project { path: path.into(), error })
}

fn write(path: &Path, text: &str) -> Result<(), TestStackError> {
    std::fs::write(path, text).map_err(|error| at(path, error))
}

/// What an operator would write by hand.
fn config(plan: &TestStackPlan, endpoints: &BTreeMap<AgencyName, String>) -> String {
    let text = |value: &str| toml::Value::from(value).to_string();
    let path = |path: &Path| text(&path.display().to_string());
    let journal = plan.journal_url.as_deref().unwrap_or("sqlite:data/journal.db");
    let mut config = format!(
        "{}\n\n[gateway]\nlisten = \"127.0.0.1:0\"\ncertificate = \"secrets/gateway/server.pem\"\n\
         key = \"secrets/gateway/server.key\"\nclient_ca = [\"secrets/gateway/office-ca.pem\"]\n\
         client_crl = [\"secrets/gateway/office.crl\"]\nattachments.folder = \"data/attachments\"\n\n\
         [operations]\nlisten = \"127.0.0.1:0\"\n\n[journal]\nurl = {}\n\n\
         [folders]\nadapters = {}\nservices = {}\nsecrets = \"secrets\"\n",
        plan.more_config,
        text(journal),
        path(&plan.adapters),
        path(&plan.services),
    );
    if let Some((uri, prefix)) = &plan.rabbitmq {
        config += &format!("\n[broker]\nkind = \"rabbitmq\"\nuri = {}\nprefix = {}\n", text(uri), text(prefix));
    }
    for (agency, endpoint) in endpoints {
        let endpoint = text(endpoint);
        config += &format!("\n[agencies.{agency}]\nendpoint = {endpoint}\n[agencies.{agency}.retry]\n{}", plan.retry);
    }
    config
}

fn offices(plan: &TestStackPlan) -> String {
    let services = services_in(&plan.services);
    dev_pki::OFFICES.iter().fold(String::new(), |text, (name, identifier)| {
        let more = if *name == OFFICE { plan.more_office.as_str() } else { "" };
        text + &format!(
            "[offices.{name}]\ntitle = {name:?}\nservices = {services:?}\nrequests_per_minute = 100000\n\
             [[offices.{name}.certificates]]\norganization_identifier = {identifier:?}\n{more}\n"
        )
    })
}

fn services_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
