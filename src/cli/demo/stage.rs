//! The demo's stage: a project folder comes in; a running gateway, worker and two simulated agencies go out.

use crate::{
    adapter::Protocol,
    domain::{AgencyName, SystemClock},
    roles::{Installation, Process, Role, simulator::Simulator},
    trust::{AgencyRoots, Algorithm, ClientTls, Identity, client_config,
        dev_pki::{self, DevAgency}},
};
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

pub const OFFICE: &str = "causeni";

pub struct Stage {
    pub folder: TempDir,
    pub process: Process,
    pub simulators: BTreeMap<AgencyName, Simulator>,
    pub protocols: BTreeMap<AgencyName, Protocol>,
    /// The town hall's HTTP client, with its certificate.
    pub office: reqwest::Client,
    pub gateway: String,
    /// RabbitMQ's names begin with this; `None` for the embedded broker.
    pub queue_prefix: Option<&'static str>,
}

const QUEUE_PREFIX: &str = "punte-demo";

impl Stage {
    pub async fn set(project: &Path, broker: Option<&str>) -> Result<Self> {
        let (adapters, services) = (absolute(&project.join("adapters"))?, absolute(&project.join("schemas/services"))?);
        let folder = tempfile::Builder::new().prefix("punte-demo.").tempdir()?;
        let agencies = agencies_in(&adapters)?;
        let keys = |agency: &AgencyName| DevAgency { name: agency.to_string(), signing: Algorithm::RsaSha256 };
        let keys: Vec<_> = agencies.iter().map(keys).collect();
        dev_pki::make(&folder.path().join("secrets"), &keys, Timestamp::now())?;
        let mut simulators = BTreeMap::new();
        for agency in &agencies {
            let simulator = Simulator::of_folder(&adapters, &services, agency, &folder.path().join("secrets")).await;
            simulators.insert(agency.clone(), simulator.with_context(|| format!("the simulated agency {agency}"))?);
        }
        let config = write_config(folder.path(), &adapters, &services, &simulators, broker)?;
        let installation = Installation::load(&config, Timestamp::now())?;
        let protocols = installation.adapters.iter().map(|it| (it.agency.clone(), it.protocol)).collect();
        let process = Process::start(installation, &Role::ALL, Arc::new(SystemClock)).await?;
        let address = process.gateway_address.context("the gateway has no address")?;
        let office = office_client(folder.path())?;
        let gateway = format!("https://localhost:{}", address.port());
        let queue_prefix = broker.map(|_| QUEUE_PREFIX);
        Ok(Self { folder, process, simulators, protocols, office, gateway, queue_prefix })
    }

    pub fn secrets(&self) -> PathBuf {
        self.folder.path().join("secrets")
    }

    pub async fn strike(self, grace: Duration) {
        self.process.stop(grace).await;
        for (_, simulator) in self.simulators {
            simulator.stop().await;
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("{} is missing: run this in the project's folder, or name it with --project", path.display()))
}

fn agencies_in(adapters: &Path) -> Result<Vec<AgencyName>> {
    let mut agencies = Vec::new();
    for entry in std::fs::read_dir(adapters)? {
        let entry = entry?;
        if entry.path().join("agency.toml").is_file() {
            agencies.push(entry.file_name().to_string_lossy().parse()?);
        }
    }
    agencies.sort();
    ensure!(!agencies.is_empty(), "{} holds no agency", adapters.display());
    Ok(agencies)
}

/// What an operator would write by hand; the retries are quick, because somebody is watching.
fn write_config(
    folder: &Path,
    adapters: &Path,
    services: &Path,
    simulators: &BTreeMap<AgencyName, Simulator>,
    broker: Option<&str>,
) -> Result<PathBuf> {
    let mut text = format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\ncertificate = \"secrets/gateway/server.pem\"\n\
         key = \"secrets/gateway/server.key\"\nclient_ca = [\"secrets/gateway/office-ca.pem\"]\n\
         client_crl = [\"secrets/gateway/office.crl\"]\nattachments.folder = \"data/attachments\"\n\n\
         [operations]\nlisten = \"127.0.0.1:0\"\n\n[journal]\nurl = \"sqlite:data/journal.db\"\n\n\
         [folders]\nadapters = {adapters:?}\nservices = {services:?}\nsecrets = \"secrets\"\n"
    );
    if let Some(uri) = broker {
        let uri = toml::Value::from(uri);
        text += &format!("\n[broker]\nkind = \"rabbitmq\"\nuri = {uri}\nprefix = \"{QUEUE_PREFIX}\"\n");
    }
    for (agency, simulator) in simulators {
        text += &format!(
            "\n[agencies.{agency}]\nendpoint = \"{}\"\n[agencies.{agency}.retry]\nfirst_wait_secs = 0.4\n\
             max_wait_secs = 1\nmax_attempts = 3\nmax_retry_after_secs = 2\n",
            simulator.endpoint()
        );
    }
    let path = folder.join("punte.toml");
    std::fs::write(&path, text)?;
    std::fs::write(folder.join("offices.toml"), OFFICES)?;
    Ok(path)
}

const OFFICES: &str = "[offices.causeni]\ntitle = \"Town hall of Căușeni\"\n\
    services = [\"person-lookup\", \"civil-status-extract\", \"legal-event\"]\n\
    [[offices.causeni.certificates]]\norganization_identifier = \"GOVMD-0000000000001\"\n";

fn office_client(folder: &Path) -> Result<reqwest::Client> {
    let secrets = folder.join("secrets");
    let offices = secrets.join("offices");
    let certificate = offices.join(format!("{OFFICE}.pem"));
    let identity = Identity::load(&certificate, &offices.join(format!("{OFFICE}.key")), Timestamp::now())?;
    let roots = AgencyRoots::load(&secrets.join("gateway/server-ca.pem"))?;
    let tls = client_config(&roots, ClientTls { identity: Some(&identity), ..ClientTls::default() })?;
    Ok(reqwest::Client::builder().tls_backend_preconfigured(tls).https_only(true).no_proxy().build()?)
}
