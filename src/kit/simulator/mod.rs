//! An agency's folder comes in; a running server goes out that plays the agency over strict mutual TLS: it checks our
//! signatures for real, answers from the adapter's own examples, signed, keeps a ledger of what it has done, and fails in
//! every way it is told to.

mod agency;
mod behaviour;
mod example_answers;
mod control;
mod cut;
mod ledger;
mod listener;
mod older_answers;
mod response;
mod seal;

use behaviour::InvalidBehaviour;
pub use behaviour::{Blamed, Plan, SimulatedFault, SimulatorBehaviour};
pub use ledger::{Arrival, LedgerEntry};

use crate::{
    adapter::{Adapter, load_adapters},
    catalogue::Catalogue,
    domain::{AgencyName, Clock, SystemClock},
    http_server::{self, PlainAcceptor},
    settings::ConfigFaults,
    trust::{
        ClientTrust, ClientTrustFiles, Identity, IdentityFiles, Purpose, Reloading, TLS_VERSIONS, TlsVersions,
        TrustError, strict_server_config_over,
    },
};
use agency::Agency;
use jiff::Timestamp;
use ledger::Ledger;
use listener::{AgencyAcceptor, LIMITS, TlsAcceptors};
use seal::AgencySeal;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// What is to be played, and where.
pub struct SimulatorPlan {
    pub adapter: Arc<Adapter>,
    /// As `punte pki dev` fills it: `simulators/<agency>/…` and `rogue/…` are used.
    pub secrets: PathBuf,
    pub listen: SocketAddr,
    /// For testers; plain HTTP, loopback only.
    pub control: SocketAddr,
    /// One JSON line an effect; without it, the ledger is in memory only.
    pub ledger_file: Option<PathBuf>,
    pub behaviour: SimulatorBehaviour,
    /// That its server speaks.
    pub versions: TlsVersions,
}

impl SimulatorPlan {
    /// On free ports of loopback, well behaved.
    pub fn new(adapter: Arc<Adapter>, secrets: &Path) -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let behaviour = SimulatorBehaviour::default();
        Self {
            adapter,
            secrets: secrets.to_owned(),
            listen: loopback,
            control: loopback,
            ledger_file: None,
            behaviour,
            versions: TLS_VERSIONS,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    #[error("the adapters cannot be used:\n{0}")]
    Config(ConfigFaults),
    #[error("there is no agency {agency} in {}, but {}", adapters.display(), listed(there))]
    UnknownAgency { agency: AgencyName, adapters: PathBuf, there: Vec<AgencyName> },
    #[error("{0}: name with --secrets a folder as `punte pki dev --out FOLDER` makes it")]
    Trust(#[from] TrustError),
    #[error("the simulator's control listens on loopback only, not on {0}: give 127.0.0.1:PORT to --control")]
    ControlAddress(SocketAddr),
    #[error(
        "the simulated agency cannot listen or write: {0}: give other addresses to --listen and --control, or another file to --ledger"
    )]
    Io(#[from] io::Error),
}

/// A simulated agency while it runs. It stops when it is dropped.
pub struct Simulator {
    pub address: SocketAddr,
    pub control: SocketAddr,
    agency: Arc<Agency>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Simulator {
    /// Plays one of the agencies of a folder, on free ports.
    pub async fn of_folder(
        adapters: &Path,
        services: &Path,
        agency: &AgencyName,
        secrets: &Path,
    ) -> Result<Self, SimulatorError> {
        let adapter = adapter_of(adapters, services, agency)?;
        Self::start(SimulatorPlan::new(adapter, secrets)).await
    }

    pub async fn start(plan: SimulatorPlan) -> Result<Self, SimulatorError> {
        if !plan.control.ip().is_loopback() {
            return Err(SimulatorError::ControlAddress(plan.control));
        }
        let now = Timestamp::now();
        let folder = plan.secrets.join("simulators").join(plan.adapter.agency.as_str());
        let rogue = plan.secrets.join("rogue");
        let acceptor = |stem: &Path| acceptor(plan.versions, stem, &folder, now);
        let tls = TlsAcceptors {
            own: acceptor(&folder.join("server"))?,
            renewed: acceptor(&folder.join("server-renewed")).ok(),
            rogue: acceptor(&rogue.join("server")).ok(),
        };
        let agency = Arc::new(Agency {
            seal: AgencySeal::load(&plan.adapter, &folder, &rogue, now)?,
            adapter: plan.adapter,
            script: behaviour::Script::default(),
            ledger: Ledger::open(plan.ledger_file.as_deref())?,
            received: Default::default(),
            shown_another: Default::default(),
            refusals: Default::default(),
            certificate_changed: Default::default(),
            clock: Mutex::new(Arc::new(SystemClock)),
            swap: Default::default(),
            older: Default::default(),
            breaks: Default::default(),
        });
        agency.behave(plan.behaviour);
        let (socket, address) = http_server::bind(plan.listen)?;
        let (control, control_address) = http_server::bind(plan.control)?;
        let stop = CancellationToken::new();
        let (acceptor, router) = (AgencyAcceptor { tls, agency: agency.clone() }, listener::router(agency.clone()));
        let tasks = vec![
            tokio::spawn(http_server::serve(socket, acceptor, router, LIMITS, stop.clone())),
            tokio::spawn(http_server::serve(
                control,
                PlainAcceptor,
                control::router(agency.clone()),
                LIMITS,
                stop.clone(),
            )),
        ];
        Ok(Self { address, control: control_address, agency, stop, tasks })
    }

    /// What an installation writes as the agency's endpoint: its own path, here.
    pub fn endpoint(&self) -> String {
        let path = self.agency.adapter.endpoint.path().trim_end_matches('/');
        format!("https://localhost:{}{path}", self.address.port())
    }

    pub fn adapter(&self) -> &Arc<Adapter> {
        &self.agency.adapter
    }

    /// From the next request on. The JSON is that of [`SimulatorBehaviour`].
    pub fn behave(&self, wanted: Value) -> Result<(), InvalidBehaviour> {
        self.agency.behave(wanted.try_into()?);
        Ok(())
    }

    /// The same, typed.
    pub fn follow(&self, behaviour: impl Into<SimulatorBehaviour>) {
        self.agency.behave(behaviour.into());
    }

    /// From now on it takes the time from this clock, as signatures show and check it.
    pub fn set_clock(&self, clock: Arc<dyn Clock>) {
        *self.agency.clock.lock().unwrap_or_else(PoisonError::into_inner) = clock;
    }

    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.agency.ledger.entries()
    }

    /// The requests that were understood, in the order of their coming.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.agency.ledger.arrivals()
    }

    /// All requests that came, whatever became of them.
    pub fn requests(&self) -> u64 {
        self.agency.received.load(Ordering::Relaxed)
    }

    /// Connections that were shown another certificate than the agency's own, whether or not they came about.
    pub fn shown_another(&self) -> u64 {
        self.agency.shown_another.load(Ordering::Relaxed)
    }

    /// Why requests were turned away.
    pub fn refusals(&self) -> Vec<String> {
        self.agency.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends all connections and waits for it.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Agency {
    fn behave(&self, behaviour: SimulatorBehaviour) {
        let shows_another_certificate =
            behaviour.0.iter().any(|plan| plan.fault.as_ref().is_some_and(|fault| fault.shown().is_some()));
        self.script.set(behaviour);
        if shows_another_certificate {
            // Whoever keeps a connection open has to make a new one, and so meets it.
            std::mem::take(&mut *self.certificate_changed.lock().unwrap_or_else(PoisonError::into_inner)).cancel();
        }
    }
}

/// Loads and proves all adapters, and takes out one.
pub fn adapter_of(adapters: &Path, services: &Path, agency: &AgencyName) -> Result<Arc<Adapter>, SimulatorError> {
    let mut faults = ConfigFaults::default();
    let catalogue = Catalogue::load(services, &mut faults);
    let loaded = load_adapters(adapters, &catalogue, &BTreeMap::new(), &mut faults);
    // Another agency's faults are no reason not to play this one.
    match loaded.agency(agency) {
        Some(adapter) => Ok(adapter.clone()),
        None if adapters.join(agency.as_str()).is_dir() => Err(SimulatorError::Config(faults)),
        None => Err(SimulatorError::UnknownAgency {
            agency: agency.clone(),
            adapters: adapters.to_owned(),
            there: loaded.iter().map(|adapter| adapter.agency.clone()).collect(),
        }),
    }
}

fn listed(agencies: &[AgencyName]) -> String {
    match agencies {
        [] => "none: name the folder of the agencies with --adapters".into(),
        some => some.iter().map(AgencyName::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// `stem`: of the server certificate that is shown. `trust`: the folder that says whose client certificates are taken.
fn acceptor(versions: TlsVersions, stem: &Path, trust: &Path, now: Timestamp) -> Result<TlsAcceptor, TrustError> {
    let files = IdentityFiles {
        certificate: stem.with_extension("pem"),
        key: stem.with_extension("key"),
        purpose: Purpose::TlsServer,
    };
    let identity = Arc::new(Reloading::<Identity>::load(files, now)?);
    let clients = ClientTrustFiles { authorities: vec![trust.join("client-ca.pem")], ..ClientTrustFiles::default() };
    let mut config = strict_server_config_over(versions, identity, &ClientTrust::load(&clients, now)?)?;
    // Faults break single connections, and with HTTP/2 one connection would be all.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
