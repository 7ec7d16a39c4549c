//! Typed configuration: `punte.toml`, `offices.toml` and the environment come in, valid settings or all faults go out.
//!
//! Relative paths are taken from the folder of the file that names them. Every key of `punte.toml` can be
//! overridden by an environment variable: `PUNTE__GATEWAY__LISTEN=0.0.0.0:8443` stands for `listen` in `[gateway]`. Only
//! this module reads the environment.

mod address;
mod agencies;
mod broker;
mod broker_uri;
mod document;
mod faults;
mod gateway;
mod journal;
mod offices;
mod schedule;
mod scheduler;
mod secret;
mod sources;

pub use agencies::{AgencySettings, SecretFiles};
pub use broker::{BrokerSettings, RabbitmqServer};
pub use broker_uri::broker_uri_fault;
pub use document::Document;
pub use faults::{ConfigFault, ConfigFaults};
pub use gateway::{AttachmentSettings, GatewaySettings, OperationsSettings};
pub use journal::{JournalSettings, JournalStore, PostgresServer, Retention};
pub use offices::{CertificateMatch, OfficeSettings, WebhookSettings};
pub use schedule::{ScheduleChanges, ScheduleWritten};
use scheduler::SchedulerSettings;
pub use secret::Secret;
pub use sources::{Effective, Source};

use crate::domain::AgencyName;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Everything a `punte` process has to know that is not in `adapters/` or `schemas/`.
#[derive(Debug, Clone)]
pub struct Settings {
    pub gateway: GatewaySettings,
    pub operations: OperationsSettings,
    pub journal: JournalSettings,
    pub broker: BrokerSettings,
    pub scheduler: SchedulerSettings,
    pub folders: Folders,
    pub webhooks: crate::domain::Schedule,
    /// Where each agency is reached in this installation, beside what its adapter says.
    pub agencies: BTreeMap<AgencyName, AgencySettings>,
    pub offices: Vec<OfficeSettings>,
    /// Every value of both files, those left out included, and where it comes from.
    pub effective: Vec<Effective>,
    /// What works, but should be known: files of secrets that others could read, keys under earlier names.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    pub adapters: PathBuf,
    /// Services' contracts: one folder a service.
    pub services: PathBuf,
    /// Keys and certificates, `agencies/<agency>/…` below it.
    pub secrets: PathBuf,
    /// What a process keeps for itself: the copy of the journal's mark.
    pub data: PathBuf,
}

impl Settings {
    /// Reads `punte.toml` at `path` and the `offices.toml` beside it.
    pub fn load(path: &Path) -> Result<Self, ConfigFaults> {
        let mut faults = ConfigFaults::default();
        let settings = Self::read(path, &mut Vec::new(), &mut faults);
        match settings {
            Some(settings) if faults.is_empty() => Ok(settings),
            _ => {
                Self::locate(path, &mut faults);
                Err(faults)
            }
        }
    }

    /// What is in effect, as far as it can be read, although something is wrong.
    pub fn effective_at(path: &Path) -> Vec<Effective> {
        let mut effective = Vec::new();
        // What is wrong has been told.
        drop(Self::read(path, &mut effective, &mut ConfigFaults::default()));
        effective
    }

    /// Gives the faults their lines, or the environment variables that they are about.
    pub fn locate(path: &Path, faults: &mut ConfigFaults) {
        let mut ignored = ConfigFaults::default();
        if let Some(mut main) = Document::read(path, &mut ignored) {
            main.override_from(variables(&mut ignored).into_iter(), &mut ignored);
            main.locate(faults);
        }
        if let Some(offices) = Document::read(&path.with_file_name("offices.toml"), &mut ignored) {
            offices.locate(faults);
        }
    }

    /// Only where adapters, services and keys are, so that they can be checked although something else is wrong.
    pub fn folders_and_agencies_of(path: &Path) -> Option<(Folders, BTreeMap<AgencyName, AgencySettings>)> {
        let mut ignored = ConfigFaults::default();
        let mut main = Document::read(path, &mut ignored)?;
        main.override_from(variables(&mut ignored).into_iter(), &mut ignored);
        let agencies = agencies::read(&mut main, &mut ignored);
        Some((read_folders(&mut main, None, &mut ignored)?, agencies))
    }

    /// `effective`: takes up what is in effect, also where something is wrong.
    fn read(path: &Path, effective: &mut Vec<Effective>, faults: &mut ConfigFaults) -> Option<Self> {
        let mut main = Document::read(path, faults)?;
        main.override_from(variables(faults).into_iter(), faults);
        let offices_path = path.with_file_name("offices.toml");
        let offices = Document::read(&offices_path, faults).map(|document| offices::read(document, faults));
        let (offices, of_offices) = offices.unzip();
        let gateway = gateway::read(&mut main, faults);
        let operations = gateway::read_operations(&mut main, faults);
        let journal = journal::read(&mut main, faults);
        let broker = broker::read(&mut main, faults);
        let scheduler = scheduler::read(&mut main, faults);
        let default = journal.as_ref().zip(gateway.as_ref()).map(|(journal, gateway)| beside(journal, gateway));
        let folders = read_folders(&mut main, default, faults);
        let webhooks = schedule::read(&mut main, "webhooks", faults);
        let agencies = agencies::read(&mut main, faults);
        let mut warnings = Vec::new();
        for (values, found) in [Some(main.finish(faults)), of_offices].into_iter().flatten() {
            effective.extend(values);
            warnings.extend(found);
        }
        Some(Self {
            gateway: gateway?,
            operations: operations?,
            journal: journal?,
            broker: broker?,
            scheduler: scheduler?,
            folders: folders?,
            webhooks: webhooks?,
            agencies,
            offices: offices?,
            effective: effective.clone(),
            warnings,
        })
    }
}

/// Ours among the environment's variables. What others put there is none of our business, whatever bytes it is made of.
fn variables(faults: &mut ConfigFaults) -> Vec<(String, String)> {
    let ours = std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PUNTE__"));
    let mut texts = Vec::new();
    for (name, value) in ours {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => texts.push((name, value)),
            (name, _) => {
                let name = name.unwrap_or_else(|name| name.to_string_lossy().into_owned());
                faults.add(name, "", "is no text in UTF-8", "set it anew, or unset it");
            }
        }
    }
    texts
}

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
struct FoldersWritten {
    adapters: PathBuf,
    services: PathBuf,
    secrets: PathBuf,
    data: Option<PathBuf>,
}

impl Default for FoldersWritten {
    fn default() -> Self {
        Self {
            adapters: "../adapters".into(),
            services: "../schemas/services".into(),
            secrets: "secrets".into(),
            data: None,
        }
    }
}

/// Beside the journal's file, or beside the attachments, which every process has.
fn beside(journal: &JournalSettings, gateway: &GatewaySettings) -> PathBuf {
    let neighbour = match &journal.store {
        JournalStore::Sqlite { path } => path,
        JournalStore::Postgres { .. } => &gateway.attachments.folder,
    };
    neighbour.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// `data`: where it is if it is not written.
fn read_folders(main: &mut Document, data: Option<PathBuf>, faults: &mut ConfigFaults) -> Option<Folders> {
    let written: FoldersWritten = main.effective_section("folders", faults)?;
    Some(Folders {
        adapters: main.folder("folders.adapters", &written.adapters, faults)?,
        services: main.folder("folders.services", &written.services, faults)?,
        secrets: main.path(&written.secrets),
        data: written.data.map(|written| main.path(&written)).or(data).unwrap_or_default(),
    })
}
