//! Punte as it is run: its own process over an installation of its own, with keys, adapters that bear more than a real
//! agency would, and an agency that the measurement plays.

use crate::{
    agency::{Agency, Door},
    counter::Question,
    process::Running,
};
use anyhow::{Context, bail};
use jiff::Timestamp;
use punte::{
    domain::AgencyName,
    roles::stage::{OFFICE, Stage, StagePlan},
    trust::{AgencyRoots, ClientTls, Identity, client_config},
};
use rustls::ClientConfig;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub const AGENCY: &str = "civil-registry";

/// Everything around the process: files, keys, the agency.
pub struct Installation {
    pub stage: Stage,
    pub agency: Agency,
    pub agency_port: u16,
    _adapters: TempDir,
}

/// What an installation is for.
pub struct Furnishing<'a> {
    /// `None`: the embedded broker.
    pub amqp: Option<&'a str>,
    /// `None`: SQLite.
    pub postgres: Option<&'a str>,
    /// Of the messages to and from the agency: `rsa-sha256` or `ecdsa-sha256`.
    pub algorithm: &'static str,
}

pub struct Punte {
    pub process: Running,
    pub port: u16,
}

/// How long the process may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);

impl Installation {
    pub async fn furnish(plan: Furnishing<'_>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        copy_project(folder.path(), plan.algorithm)?;
        let door = Door::open()?;
        let agency_port = door.port()?;
        let mut stage = StagePlan::of_project(folder.path());
        stage.services = folder.path().join("services");
        stage.journal_url = plan.postgres.map(str::to_owned);
        stage.rabbitmq = plan.amqp.map(|uri| (uri.to_owned(), format!("road-{}", uuid::Uuid::new_v4().simple())));
        let endpoint = format!("https://localhost:{agency_port}/registry");
        stage.played_elsewhere.insert(AGENCY.parse::<AgencyName>()?, Box::new(move |_| endpoint));
        let stage = Stage::prepare(stage).await?;
        edit(&stage.folder.path().join("offices.toml"), |text| {
            text.replace("requests_per_minute = 100000\n", "requests_per_minute = 100000000\n")
        })?;
        let agency = Agency::begin(door, &stage.secrets().join("simulators").join(AGENCY))?;
        Ok(Self { stage, agency, agency_port, _adapters: folder })
    }

    /// Starts Punte's process and waits until it listens.
    pub async fn open(&self) -> anyhow::Result<Punte> {
        let log = self.stage.folder.path().join("punte.log");
        let child = Command::new(env!("CARGO_BIN_EXE_punte"))
            .args(["serve", "--config"])
            .arg(self.stage.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .context("Punte's process")?;
        let mut process = Running::new(child);
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log)?;
            if let Some(port) = port_in(&text) {
                return Ok(Punte { process, port });
            }
            if process.child().try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                bail!("Punte does not listen:\n{text}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// TLS of the office's client.
    pub fn office(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let offices = self.stage.secrets().join("offices");
        let (certificate, key) = (offices.join(format!("{OFFICE}.pem")), offices.join(format!("{OFFICE}.key")));
        let identity = Identity::load(&certificate, &key, Timestamp::now())?;
        let roots = AgencyRoots::load(&self.stage.secrets().join("gateway/server-ca.pem"))?;
        Ok(Arc::new(client_config(&roots, ClientTls { identity: Some(&identity), ..ClientTls::default() })?))
    }
}

impl Punte {
    pub fn question(&self, tls: Arc<ClientConfig>) -> Question {
        Question { port: self.port, tls, body: request().into(), expected: "\"state\":\"completed\"" }
    }
}

/// The standard request that every client sends.
pub fn request() -> String {
    json!({
        "service": "person-lookup",
        "context": {
            "clerk": "2000000000900",
            "entity": "1000000000001",
            "legal_basis": "Law 100/2020, art. 5",
            "reason": "Application 123",
        },
        "subject": {"scheme": "idnp", "id": "2000000000001"},
        "data": {},
    })
    .to_string()
}

/// One agency and its services, without the limits that spare a real one.
fn copy_project(to: &Path, algorithm: &str) -> anyhow::Result<()> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (from, folder) in [("adapters", AGENCY), ("schemas/services", "person-lookup")] {
        let target = if from == "adapters" { to.join("adapters") } else { to.join("services") };
        copy(&project.join(from).join(folder), &target.join(folder))?;
    }
    let extract = "civil-status-extract";
    std::fs::remove_dir_all(to.join("adapters").join(AGENCY).join(extract))?;
    edit(&to.join("adapters").join(AGENCY).join("agency.toml"), |text| {
        let without_extract = text.split("[operations.civil-status-extract]").next().unwrap_or_default();
        without_extract
            .replace("concurrency = 8", "concurrency = 64")
            .replace("requests_per_second = 50\n", "")
            .replace("rsa-sha256", algorithm)
    })
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target: PathBuf = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn edit(file: &Path, change: impl Fn(String) -> String) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let changed = change(text.clone());
    anyhow::ensure!(text != changed, "{} was not changed", file.display());
    Ok(std::fs::write(file, changed)?)
}

fn port_in(log: &str) -> Option<u16> {
    let (_, after) = log.split_once("the gateway listens address=")?;
    after.lines().next()?.trim().rsplit(':').next()?.parse().ok()
}
