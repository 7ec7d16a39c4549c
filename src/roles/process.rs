//! A running process: an installation and the names of roles come in, the roles run until they are stopped.

use super::{
    courier::{Courier, CourierError, CourierParts},
    gateway::{Gateway, GatewayError, GatewayParts},
    installation::Installation,
    operations::{Operations, OperationsParts, PartState, Readiness},
    scheduler::Scheduler,
    stores::{OpenError, open_broker, open_journal},
    worker::Worker,
};
use crate::{
    attachments::AttachmentStore,
    broker::{Broker, BrokerError},
    domain::{AgencyName, Clock},
    journal::{
        Journal, JournalError,
        sqlite::{self, Ownership},
    },
    road::{Lines, Reply, Road},
    settings::{BrokerSettings, JournalPlace},
    telemetry::Metrics,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a process does. All of it by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Takes offices' requests
    Gateway,
    /// Delivers to agencies
    Worker,
    /// Keeps times: outbox, retries, deadlines, repairs, retention
    Scheduler,
    /// Tells offices by webhook
    Courier,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Gateway, Role::Worker, Role::Scheduler, Role::Courier];
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the attachments' folder: {0}")]
    Attachments(std::io::Error),
    #[error("another process works on this journal: stop it, or share a PostgreSQL journal")]
    JournalInUse,
    #[error("the embedded broker lives inside one process: run all roles together, or use RabbitMQ")]
    EmbeddedBrokerApart,
    #[error("a SQLite journal belongs to one process: run all roles together, or use PostgreSQL")]
    SqliteApart,
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error(transparent)]
    Courier(#[from] CourierError),
    #[error("the listener for health and metrics: {0}")]
    Operations(std::io::Error),
}

/// How long requests under way have to end once the process is told to stop.
pub const DRAIN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// All that was under way has ended.
    Drained,
    /// The time was up. What was under way is taken up at the next start.
    Aborted,
}

pub struct Process {
    /// Where offices reach the gateway, if it runs here.
    pub gateway_address: Option<SocketAddr>,
    pub operations_address: SocketAddr,
    pub journal: Arc<dyn Journal>,
    pub broker: Arc<dyn Broker>,
    lines: Arc<Lines>,
    gateway_reload: Option<Arc<Notify>>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
    _ownership: Option<Ownership>,
}

impl Process {
    pub async fn start(installation: Installation, roles: &[Role], clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let settings = &installation.settings;
        check_together(&installation, roles)?;
        installation.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let ownership = own_journal(&installation)?;
        let journal = open_journal(&settings.journal).await?;
        let broker = open_broker(&settings.broker, clock.now())?;
        let attachments =
            AttachmentStore::open(&settings.gateway.attachments.folder).map_err(StartError::Attachments)?;
        let shared = Shared {
            journal: journal.clone(),
            broker: broker.clone(),
            clock: clock.clone(),
            metrics: Metrics::new(),
            attachments,
            outbox_filled: Arc::new(Notify::new()),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        if ownership.is_some() {
            take_over(&installation, &shared).await?;
        }
        declare(&installation, &shared).await;
        let (gateway_address, gateway_reload) = shared.run(&installation, roles).await?.unzip();
        let operations_address = shared.run_operations(&installation, roles).await?;
        let Shared { stop, abort, tasks, .. } = shared;
        tasks.close();
        let lines = installation.lines;
        Ok(Self {
            gateway_address,
            operations_address,
            journal,
            broker,
            lines,
            gateway_reload,
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
        self.lines.refresh(self.clock.now());
        if let Some(gateway) = &self.gateway_reload {
            gateway.notify_one();
        }
    }

    /// Takes nothing new, and gives what is under way so much time to end.
    pub async fn stop(self, grace: Duration) -> Stopped {
        self.stop.cancel();
        let drained = tokio::time::timeout(grace, self.tasks.wait()).await.is_ok();
        self.abort.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(2), self.broker.close()).await;
        if drained { Stopped::Drained } else { Stopped::Aborted }
    }
}

type RunningGateway = (SocketAddr, Arc<Notify>);

/// What all roles of a process share.
struct Shared {
    journal: Arc<dyn Journal>,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    attachments: AttachmentStore,
    outbox_filled: Arc<Notify>,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl Shared {
    /// The gateway's address and what has it look at its certificates, if there is one.
    async fn run(&self, installation: &Installation, roles: &[Role]) -> Result<Option<RunningGateway>, StartError> {
        let mut gateway = None;
        for role in roles {
            match role {
                Role::Gateway => gateway = Some(self.run_gateway(installation).await?),
                Role::Worker => drop(self.tasks.spawn(self.worker(installation).run(self.stop.clone()))),
                Role::Scheduler => {
                    drop(self.tasks.spawn(Arc::new(self.scheduler(installation)).run(self.stop.clone())));
                }
                Role::Courier => self.run_courier(installation)?,
            }
        }
        Ok(gateway)
    }

    async fn run_gateway(&self, installation: &Installation) -> Result<RunningGateway, StartError> {
        let gateway = Gateway::start(GatewayParts {
            settings: installation.settings.gateway.clone(),
            offices: installation.settings.offices.clone(),
            journal: self.journal.clone(),
            broker: self.broker.clone(),
            catalogue: installation.catalogue.clone(),
            adapters: installation.adapters.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            shutdown: self.stop.clone(),
            grace: DRAIN,
            outbox_work: Some(self.outbox_filled.clone()),
        })
        .await?;
        self.tasks.spawn(gateway.ended);
        Ok((gateway.address, gateway.reload))
    }

    fn run_courier(&self, installation: &Installation) -> Result<(), StartError> {
        let courier = Courier::start(CourierParts {
            offices: installation.settings.offices.clone(),
            journal: self.journal.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            schedule: installation.settings.webhooks,
            shutdown: self.stop.clone(),
            wake: None,
        })?;
        self.tasks.spawn(courier.ended);
        Ok(())
    }

    async fn run_operations(&self, installation: &Installation, roles: &[Role]) -> Result<SocketAddr, StartError> {
        let operations = Operations::start(OperationsParts {
            settings: installation.settings.operations.clone(),
            readiness: self.readiness(installation, roles),
            metrics: self.metrics.clone(),
            shutdown: self.stop.clone(),
        });
        let operations = operations.await.map_err(StartError::Operations)?;
        self.tasks.spawn(operations.ended);
        Ok(operations.address)
    }

    fn readiness(&self, installation: &Installation, roles: &[Role]) -> Arc<Readiness> {
        let readiness = Readiness::new(self.stop.clone());
        readiness.add_journal(self.journal.clone());
        readiness.add_broker(self.broker.clone());
        if roles.contains(&Role::Worker) {
            for adapter in installation.adapters.iter() {
                let (metrics, agency) = (self.metrics.clone(), adapter.agency.clone());
                let circuit = move || circuit(&metrics, &agency);
                readiness.add(
                    format!("circuit of {}", adapter.agency),
                    Box::new(move || Box::pin(std::future::ready(circuit()))),
                );
                let (broker, agency) = (self.broker.clone(), adapter.agency.clone());
                let name = format!("consumers of {agency}");
                readiness.add(name, Box::new(move || Box::pin(consumers_seen(broker.clone(), agency.clone()))));
            }
        }
        Arc::new(readiness)
    }

    fn worker(&self, installation: &Installation) -> Worker {
        let road = Road {
            journal: self.journal.clone(),
            reply: Reply::new(self.journal.clone(), self.broker.clone()),
            catalogue: installation.catalogue.clone(),
            lines: installation.lines.clone(),
            attachments: self.attachments.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            wire_max_bytes: installation.settings.journal.wire_max_bytes,
            abort: self.abort.clone(),
        };
        Worker {
            broker: self.broker.clone(),
            adapters: installation.adapters.clone(),
            road: Arc::new(road),
            lines: installation.lines.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
        }
    }

    fn scheduler(&self, installation: &Installation) -> Scheduler {
        Scheduler {
            journal: self.journal.clone(),
            broker: self.broker.clone(),
            adapters: installation.adapters.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            retention: installation.settings.journal.retention,
            lost_after: installation.settings.scheduler.lost_after,
            fallback_schedule: installation.settings.webhooks,
            attachments: self.attachments.clone(),
            outbox_filled: self.outbox_filled.clone(),
        }
    }
}

/// One agency's failure leaves the process ready: others are served.
fn circuit(metrics: &Metrics, agency: &AgencyName) -> PartState {
    match metrics.is_breaker_open(agency) {
        true => PartState::Degraded("it is open: the agency failed again and again, its submissions wait".into()),
        false => PartState::Up,
    }
}

/// Whether the broker sees somebody who takes this agency's messages.
async fn consumers_seen(broker: Arc<dyn Broker>, agency: AgencyName) -> PartState {
    match broker.depth(&agency).await {
        Ok(depth) if depth.consumers > 0 => PartState::Up,
        Ok(depth) => PartState::Degraded(format!("nobody takes its {} messages now", depth.ready)),
        Err(error) => PartState::Degraded(error.to_string()),
    }
}

/// What lives inside one process cannot be spread over several.
fn check_together(installation: &Installation, roles: &[Role]) -> Result<(), StartError> {
    let are_together = Role::ALL.iter().all(|role| roles.contains(role));
    if are_together {
        return Ok(());
    }
    if matches!(installation.settings.broker, BrokerSettings::Embedded) {
        return Err(StartError::EmbeddedBrokerApart);
    }
    match installation.settings.journal.place {
        JournalPlace::Sqlite { .. } => Err(StartError::SqliteApart),
        JournalPlace::Postgres { .. } => Ok(()),
    }
}

fn own_journal(installation: &Installation) -> Result<Option<Ownership>, StartError> {
    match &installation.settings.journal.place {
        JournalPlace::Sqlite { path } => sqlite::try_own(path)?.map(Some).ok_or(StartError::JournalInUse),
        JournalPlace::Postgres { .. } => Ok(None),
    }
}

/// The journal is ours alone: what the process before was doing has ended with it, and an embedded broker is empty.
async fn take_over(installation: &Installation, shared: &Shared) -> Result<(), StartError> {
    let now = shared.clock.now();
    let interrupted = shared.journal.void_leases(now).await?;
    let mut requeued = 0;
    if matches!(installation.settings.broker, BrokerSettings::Embedded) {
        for adapter in installation.adapters.iter() {
            requeued += shared.journal.requeue(&adapter.agency, now, now, u64::MAX).await?;
        }
    }
    if interrupted + requeued > 0 {
        tracing::info!(interrupted, requeued, "took up what the process before had left");
    }
    Ok(())
}

/// The broker may be away: it is declared again when it is back.
async fn declare(installation: &Installation, shared: &Shared) {
    let agencies: Vec<AgencyName> = installation.adapters.iter().map(|adapter| adapter.agency.clone()).collect();
    match shared.broker.declare(&agencies).await {
        Ok(()) => {}
        Err(error @ BrokerError::Unavailable(_)) => {
            tracing::info!(%error, "queues are declared as soon as it is there")
        }
        Err(error) => tracing::error!(%error, "queues could not be declared"),
    }
}
