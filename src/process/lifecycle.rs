//! A running process: an installation and the names of roles come in, the roles run until they are stopped.

use super::{
    installation::Installation,
    operations::{reserve_operations, run_operations},
    parts::{RunningGateway, Shared},
    restore_guard::RestoreGuard,
    role::Role,
    start_error::StartError,
    stores::{open_broker, open_journal},
    take_over::TakeOver,
};
use crate::{
    attachments::AttachmentStore,
    broker::{Broker, BrokerError, rabbitmq::Peers},
    delivery::{AgencyConnections, FastPath, MarkKeeper, Workers},
    domain::{AgencyName, Clock},
    journal::{
        Journal, MarkFile,
        sqlite::{self, Ownership},
    },
    roles::notifier::WebhookClients,
    settings::{BrokerSettings, JournalStore},
    telemetry::Metrics,
};
use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{net::TcpSocket, sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long what has begun may take to end, if the rest cannot begin.
const END_OF_A_FAILED_START: Duration = Duration::from_secs(10);
/// How long tasks that give up, and the broker, may take.
const END_OF_WAITING: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// All that was under way has ended.
    Drained,
    /// The time was up. What was under way is taken up at the next start.
    Aborted,
}

/// All that runs, from [`Process::start`] to [`Process::stop`]. Held by the command that serves, or by a test.
pub struct Process {
    /// Where offices reach the gateway, if it runs here.
    pub gateway_address: Option<SocketAddr>,
    /// Where metrics and readiness are served, whatever roles run here.
    pub operations_address: SocketAddr,
    /// The one journal of all roles. It is closed when the last of them has dropped it.
    pub journal: Arc<dyn Journal>,
    /// The one broker of all roles. It is closed at the stop, after all tasks.
    pub broker: Arc<dyn Broker>,
    /// One to each agency, for `reload`. The worker holds them as well.
    connections: Arc<AgencyConnections>,
    /// Notified by `reload`; the gateway, if it runs here, then reads its certificates again.
    gateway_reload: Option<Arc<Notify>>,
    /// The notifier's, if it runs here, for `reload`.
    webhook_clients: Option<Arc<WebhookClients>>,
    clock: Arc<dyn Clock>,
    /// Cancelled when the process is to stop: every task takes nothing new, and ends when what it has is done.
    stop: CancellationToken,
    /// Cancelled when the time to stop in is up: what still waits for the journal gives up.
    abort: CancellationToken,
    /// The tasks of all roles. The stop waits for them.
    tasks: TaskTracker,
    /// The lock on a SQLite journal, which one process alone may work with. Released with the process.
    _ownership: Option<Ownership>,
}

impl Process {
    pub async fn start(installation: Installation, roles: &[Role], clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let settings = &installation.settings;
        installation.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        installation.connections.tell_stopped();
        let ownership = own_journal(&installation)?;
        let operations_socket = reserve_operations(&installation, roles)?;
        let attachments =
            AttachmentStore::open(&settings.gateway.attachments.folder).map_err(StartError::Attachments)?;
        let data = &settings.folders.data;
        let file = MarkFile::open(data).map_err(|error| StartError::Data { path: data.clone(), error })?;
        let journal = open_journal(&settings.journal).await?;
        let identity = journal.identity().await?;
        let broker = open_broker(&settings.broker, identity, peers(&installation, roles), clock.now())?;
        let mark_keeper = Arc::new(MarkKeeper::new(journal.clone(), Some(file), clock.clone()));
        let shared = Shared {
            journal: journal.clone(),
            broker: broker.clone(),
            clock: clock.clone(),
            metrics: Metrics::new(),
            attachments,
            outbox_filled: Arc::new(Notify::new()),
            fast_path: Arc::new(FastPath::new(workers(&installation, roles), installation.fast_path)),
            mark_keeper,
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            certificates: OnceLock::new(),
            webhook_clients: OnceLock::new(),
        };
        let running = match run_all(&shared, &installation, roles, ownership.is_some(), operations_socket).await {
            Ok(running) => running,
            Err(error) => {
                // What has begun although the rest cannot.
                shared.tasks.close();
                end(&shared.stop, &shared.abort, &shared.tasks, &*shared.broker, END_OF_A_FAILED_START).await;
                return Err(error);
            }
        };
        let (gateway_address, gateway_reload) = running.gateway.unzip();
        let operations_address = running.operations;
        let Shared { stop, abort, tasks, webhook_clients, .. } = shared;
        tasks.close();
        let connections = installation.connections;
        Ok(Self {
            gateway_address,
            operations_address,
            journal,
            broker,
            connections,
            gateway_reload,
            webhook_clients: webhook_clients.into_inner(),
            clock,
            stop,
            abort,
            tasks,
            _ownership: ownership,
        })
    }

    /// Looks at certificates, keys and revocation lists now, and not within some seconds. Bad ones are refused.
    pub fn reload(&self) {
        tracing::info!("certificates, keys and revocation lists are looked at");
        if let Some(gateway) = &self.gateway_reload {
            gateway.notify_one();
        }
        let (connections, webhook_clients, now) =
            (self.connections.clone(), self.webhook_clients.clone(), self.clock.now());
        // It reads files: whoever asks for it goes on meanwhile.
        drop(tokio::task::spawn_blocking(move || {
            connections.refresh(now);
            webhook_clients.inspect(|webhook_clients| webhook_clients.refresh(now));
        }));
    }

    /// Takes nothing new, and gives what is under way so much time to end.
    pub async fn stop(self, grace: Duration) -> Stopped {
        end(&self.stop, &self.abort, &self.tasks, &*self.broker, grace).await
    }
}

struct Running {
    gateway: Option<RunningGateway>,
    operations: SocketAddr,
}

async fn run_all(
    shared: &Shared,
    installation: &Installation,
    roles: &[Role],
    is_owned: bool,
    operations_socket: TcpSocket,
) -> Result<Running, StartError> {
    // A journal that is ours alone: what the process before was doing has ended with it.
    let take_over = is_owned.then(|| take_over(installation, shared));
    let (journal, broker, mark_keeper) = (shared.journal.clone(), shared.broker.clone(), shared.mark_keeper.clone());
    let guard = RestoreGuard::begin(journal, broker, mark_keeper, take_over).await?;
    shared.tasks.spawn(guard.run(shared.stop.clone(), shared.abort.clone()));
    declare(installation, shared).await?;
    let gateway = shared.run(installation, roles).await?;
    let operations = run_operations(shared, installation, roles, operations_socket)?;
    Ok(Running { gateway, operations })
}

async fn end(
    stop: &CancellationToken,
    abort: &CancellationToken,
    tasks: &TaskTracker,
    broker: &dyn Broker,
    grace: Duration,
) -> Stopped {
    stop.cancel();
    let drained = timeout(grace, tasks.wait()).await.is_ok();
    abort.cancel();
    // Whoever gives up now records nothing more after this.
    let _ = tokio::join!(timeout(END_OF_WAITING, tasks.wait()), timeout(END_OF_WAITING, broker.close()));
    if drained { Stopped::Drained } else { Stopped::Aborted }
}

fn peers(installation: &Installation, roles: &[Role]) -> Peers {
    match roles.contains(&Role::Gateway) {
        _ if installation.is_alone() => Peers::None,
        true => Peers::ToldAndHeard,
        false => Peers::Told,
    }
}

fn workers(installation: &Installation, roles: &[Role]) -> Workers {
    match roles.contains(&Role::Worker) {
        true if installation.is_alone() => Workers::AllHere,
        true => Workers::SomeHere,
        false => Workers::Elsewhere,
    }
}

fn own_journal(installation: &Installation) -> Result<Option<Ownership>, StartError> {
    match &installation.settings.journal.store {
        JournalStore::Sqlite { path } => sqlite::try_own(path)?.map(Some).ok_or(StartError::JournalInUse),
        JournalStore::Postgres(_) => Ok(None),
    }
}

fn take_over(installation: &Installation, shared: &Shared) -> TakeOver {
    let is_embedded = matches!(installation.settings.broker, BrokerSettings::Embedded);
    let agencies = installation.adapters.iter().filter(|_| is_embedded).map(|adapter| adapter.agency.clone());
    TakeOver { submissions: shared.submissions(), clock: shared.clock.clone(), lost_queues: agencies.collect() }
}

/// How long a start waits for the first try to connect to the broker, which may find that the prefix is another
/// installation's.
const FIRST_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The broker may be away: it is declared again when it is back.
async fn declare(installation: &Installation, shared: &Shared) -> Result<(), StartError> {
    let agencies: Vec<AgencyName> = installation.adapters.iter().map(|adapter| adapter.agency.clone()).collect();
    let first_try = async {
        while shared.broker.is_starting() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = timeout(FIRST_CONNECT_TIMEOUT, first_try).await;
    match shared.broker.declare(&agencies).await {
        Ok(()) => {}
        Err(error @ BrokerError::Foreign { .. }) => return Err(StartError::Broker(error)),
        Err(error @ BrokerError::Unavailable(_)) => {
            tracing::info!(%error, "queues are declared as soon as it is there")
        }
        Err(error) => tracing::error!(%error, "queues could not be declared"),
    }
    Ok(())
}
