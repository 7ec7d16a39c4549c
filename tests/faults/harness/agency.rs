//! Agencies as the simulator plays them, each on a port of its own that it keeps, with a ledger in a file: they can be
//! dead and come back, and forget nothing.

use super::process::free_port;
use punte::{
    adapter::Adapter,
    domain::AgencyName,
    kit::simulator::{Arrival, LedgerEntry, Simulator, SimulatorPlan, adapter_of},
    trust::{TLS_VERSIONS, TlsVersions},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

pub struct Agency {
    pub name: AgencyName,
    adapter: Arc<Adapter>,
    port: u16,
    secrets: PathBuf,
    ledger: PathBuf,
    simulator: Option<Simulator>,
    versions: TlsVersions,
}

pub type Agencies = BTreeMap<String, Agency>;

/// Where each agency will be: before its keys exist, because the configuration names it.
pub fn ports(adapters: &Path) -> BTreeMap<AgencyName, u16> {
    let folders = std::fs::read_dir(adapters).unwrap().map(|entry| entry.unwrap());
    let agencies = folders.filter(|it| it.path().join("agency.toml").is_file());
    agencies.map(|it| (it.file_name().to_str().unwrap().parse().unwrap(), free_port())).collect()
}

/// What the configuration calls it by: the adapter's own path, here.
pub fn endpoint(adapters: &Path, agency: &AgencyName, port: u16) -> String {
    let text = std::fs::read_to_string(adapters.join(agency.as_str()).join("agency.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let url = reqwest::Url::parse(table["endpoint"].as_str().unwrap()).unwrap();
    format!("https://localhost:{port}{}", url.path().trim_end_matches('/'))
}

impl Agency {
    pub async fn open(folder: &Path, ledgers: &Path, name: &AgencyName, port: u16, secrets: &Path) -> Self {
        let adapter = adapter_of(&folder.join("adapters"), &folder.join("services"), name).unwrap();
        let ledger = ledgers.join(format!("{name}.ledger.jsonl"));
        let (name, secrets) = (name.clone(), secrets.to_owned());
        let mut agency = Self { name, adapter, port, secrets, ledger, simulator: None, versions: TLS_VERSIONS };
        agency.come_back().await;
        agency
    }

    /// From the next request on. `null` is good behaviour.
    pub fn behave(&self, behaviour: &Value) {
        if let Some(simulator) = &self.simulator {
            simulator.behave(behaviour.clone()).unwrap();
        }
    }

    /// Nobody listens any more.
    pub async fn die(&mut self) {
        if let Some(simulator) = self.simulator.take() {
            simulator.stop().await;
        }
    }

    /// Well behaved, with all that it did before.
    pub async fn come_back(&mut self) {
        if self.simulator.is_some() {
            return;
        }
        let plan = SimulatorPlan {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
            ledger_file: Some(self.ledger.clone()),
            versions: self.versions,
            ..SimulatorPlan::new(self.adapter.clone(), &self.secrets)
        };
        self.simulator = Some(Simulator::start(plan).await.unwrap());
    }

    /// From its next connection on; those that are open end.
    pub async fn speaks_only(&mut self, versions: TlsVersions) {
        self.versions = versions;
        self.die().await;
        self.come_back().await;
    }

    /// Everything that came, whatever became of it. None while it is dead.
    pub fn requests(&self) -> u64 {
        self.simulator.as_ref().map_or(0, Simulator::requests)
    }

    /// Connections that were shown another certificate than its own. None while it is dead.
    pub fn shown_another(&self) -> u64 {
        self.simulator.as_ref().map_or(0, Simulator::shown_another)
    }

    /// What its file says it has done.
    pub fn effects(&self) -> Vec<LedgerEntry> {
        let mut effects = BTreeMap::new();
        for entry in self.lines().filter_map(|line| serde_json::from_value::<LedgerEntry>(line).ok()) {
            effects.insert(entry.entry, entry);
        }
        effects.into_values().collect()
    }

    /// What its file says has come.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.lines().filter_map(|mut line| serde_json::from_value(line["arrived"].take()).ok()).collect()
    }

    fn lines(&self) -> impl Iterator<Item = Value> {
        let text = std::fs::read_to_string(&self.ledger).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>().into_iter()
    }
}
