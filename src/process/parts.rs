//! What all roles of a process share: stores, clock and tokens come in; running roles go out.

use super::{
    installation::Installation,
    role::{DRAIN, Role},
    start_error::StartError,
};
use crate::{
    attachments::AttachmentStore,
    broker::{Broker, Told},
    delivery::{AcceptedCache, AgencyConnections, ClockJumpDetector, Contents, Deliverer, Marks},
    domain::{AgencyName, Clock, OfficeName},
    journal::Journal,
    roles::{
        dispatch::Dispatch,
        gateway::{Gateway, GatewayCertificates, GatewayParts},
        notifier::{Notifier, NotifierParts, WebhookClients},
        operations::{Operations, OperationsParts, Part, PartState, QueueSights, Readiness},
        scheduler::{HOUSEKEEPING_EVERY, Relay, Scheduler},
        worker::Worker,
    },
    settings::OperationsSettings,
    submissions::{Listeners, LocalWaiters, Submissions},
    telemetry::Metrics,
};
use futures_util::future::BoxFuture;
use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(super) type RunningGateway = (SocketAddr, Arc<Notify>);

/// What all roles of a process share.
pub(super) struct Shared {
    pub journal: Arc<dyn Journal>,
    pub broker: Arc<dyn Broker>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub attachments: AttachmentStore,
    pub outbox_filled: Arc<Notify>,
    pub accepted: Arc<AcceptedCache>,
    pub waiters: Arc<LocalWaiters>,
    pub marks: Arc<Marks>,
    pub stop: CancellationToken,
    pub abort: CancellationToken,
    pub tasks: TaskTracker,
    /// The gateway's, once it runs here.
    pub certificates: OnceLock<GatewayCertificates>,
    /// The notifier's, once it runs here.
    pub webhook_clients: OnceLock<Arc<WebhookClients>>,
}

impl Shared {
    /// The gateway's address and what has it look at its certificates, if there is one.
    pub async fn run(&self, installation: &Installation, roles: &[Role]) -> Result<Option<RunningGateway>, StartError> {
        let mut gateway = None;
        for role in roles {
            match role {
                Role::Gateway => gateway = Some(self.run_gateway(installation).await?),
                Role::Worker => drop(self.tasks.spawn(self.worker(installation).run(self.stop.clone()))),
                Role::Scheduler => {
                    drop(self.tasks.spawn(Arc::new(self.scheduler(installation)).run(self.stop.clone())));
                }
                Role::Notifier => self.run_notifier(installation)?,
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
            dispatch: Some(Dispatch::start(self.relay(installation), &self.tasks, self.stop.clone())),
            accepted: self.accepted.clone(),
            publishes_early: installation.is_alone(),
            waiters: self.waiters.clone(),
        })
        .await?;
        self.tasks.spawn(gateway.ended);
        let _ = self.certificates.set(gateway.certificates);
        Ok((gateway.address, gateway.reload))
    }

    /// All that a role of this process may do with submissions.
    pub fn submissions(&self) -> Submissions {
        let listeners = Listeners {
            broker: self.broker.clone(),
            waiters: self.waiters.clone(),
            metrics: self.metrics.clone(),
            outbox_filled: self.outbox_filled.clone(),
        };
        Submissions::serving(self.journal.clone(), self.clock.clone(), listeners)
    }

    fn relay(&self, installation: &Installation) -> Relay {
        Relay {
            submissions: self.submissions(),
            broker: self.broker.clone(),
            adapters: installation.adapters.clone(),
            clock: self.clock.clone(),
            told: Told::default(),
        }
    }

    fn run_notifier(&self, installation: &Installation) -> Result<(), StartError> {
        let notifier = Notifier::start(NotifierParts {
            offices: installation.settings.offices.clone(),
            journal: self.journal.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            schedule: installation.settings.webhooks,
            shutdown: self.stop.clone(),
            wake: None,
        })?;
        self.tasks.spawn(notifier.ended);
        let _ = self.webhook_clients.set(notifier.clients);
        Ok(())
    }

    pub async fn run_operations(&self, installation: &Installation, roles: &[Role]) -> Result<SocketAddr, StartError> {
        let address = operations_address(&installation.settings.operations, roles);
        let operations = Operations::start(OperationsParts {
            listen: address,
            readiness: self.readiness(installation, roles),
            metrics: self.metrics.clone(),
            shutdown: self.stop.clone(),
        });
        let operations = operations.await.map_err(|error| StartError::Operations { address, error })?;
        self.tasks.spawn(operations.ended);
        Ok(operations.address)
    }

    fn readiness(&self, installation: &Installation, roles: &[Role]) -> Arc<Readiness> {
        let readiness = Readiness::new(self.stop.clone(), self.metrics.clone());
        readiness.add_journal(self.journal.clone());
        let marks = self.marks.clone();
        readiness.add("copy of the journal's mark", Box::new(move || Box::pin(std::future::ready(copy(&marks)))));
        let agencies: Vec<_> = installation.adapters.iter().map(|adapter| adapter.agency.clone()).collect();
        let sights = Arc::new(QueueSights::new(self.broker.clone(), agencies.clone(), self.metrics.clone()));
        readiness.add_broker(self.broker.clone(), sights.clone());
        if let Some(certificates) = self.certificates.get().cloned() {
            let state = move || certificates.trouble().map_or(PartState::Up, PartState::Degraded);
            readiness.add("certificates of the gateway", Box::new(move || Box::pin(std::future::ready(state()))));
        }
        if let Some(webhook_clients) = self.webhook_clients.get() {
            for office in webhook_clients.offices() {
                let (webhook_clients, name) = (webhook_clients.clone(), office.clone());
                let state = move || webhook(&webhook_clients, &name);
                readiness.add(format!("webhook of {office}"), Box::new(move || Box::pin(std::future::ready(state()))));
            }
        }
        for agency in agencies {
            if roles.contains(&Role::Worker) {
                let (metrics, name) = (self.metrics.clone(), agency.clone());
                let circuit = move || circuit(&metrics, &name);
                let part = Box::new(move || Box::pin(std::future::ready(circuit())) as BoxFuture<'static, PartState>);
                readiness.add(format!("circuit of {agency}"), part);
                let (connections, name, clock) = (installation.connections.clone(), agency.clone(), self.clock.clone());
                let identity = move || identity(&connections, &name, &*clock);
                readiness.add(
                    format!("certificate for {agency}"),
                    Box::new(move || Box::pin(std::future::ready(identity()))),
                );
                let (connections, name) = (installation.connections.clone(), agency.clone());
                let keys = move || keys(&connections, &name);
                readiness.add(format!("keys of {agency}"), Box::new(move || Box::pin(std::future::ready(keys()))));
                let part = of_queues(&sights, &agency, |sights, agency| {
                    Box::pin(async move { sights.consumers(&agency).await })
                });
                readiness.add(format!("consumers of {agency}"), part);
            }
            let part = of_queues(&sights, &agency, |sights, agency| {
                Box::pin(async move { sights.dead_letters(&agency).await })
            });
            readiness.add(format!("dead letters of {agency}"), part);
        }
        Arc::new(readiness)
    }

    fn worker(&self, installation: &Installation) -> Worker {
        let deliverer = Deliverer {
            journal: self.journal.clone(),
            accepted: self.accepted.clone(),
            submissions: self.submissions(),
            catalogue: installation.catalogue.clone(),
            connections: installation.connections.clone(),
            attachments: self.attachments.clone(),
            contents: Contents::default(),
            clock: self.clock.clone(),
            clock_jumps: ClockJumpDetector::beginning(self.clock.now()),
            marks: self.marks.clone(),
            metrics: self.metrics.clone(),
            wire_max_bytes: installation.settings.journal.wire_max_bytes,
            abort: self.abort.clone(),
        };
        Worker {
            broker: self.broker.clone(),
            adapters: installation.adapters.clone(),
            deliverer: Arc::new(deliverer),
            connections: installation.connections.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
        }
    }

    fn scheduler(&self, installation: &Installation) -> Scheduler {
        Scheduler {
            submissions: self.submissions(),
            journal: self.journal.clone(),
            broker: self.broker.clone(),
            adapters: installation.adapters.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            retention: installation.settings.journal.retention,
            housekeeping_every: HOUSEKEEPING_EVERY,
            lost_after: installation.settings.scheduler.lost_after,
            fallback_schedule: installation.settings.webhooks,
            attachments: self.attachments.clone(),
            outbox_filled: self.outbox_filled.clone(),
        }
    }
}

fn operations_address(settings: &OperationsSettings, roles: &[Role]) -> SocketAddr {
    match roles {
        [Role::Gateway] => settings.gateway,
        [Role::Worker] => settings.worker,
        [Role::Scheduler] => settings.scheduler,
        [Role::Notifier] => settings.notifier,
        _ => settings.listen,
    }
}

/// Without it a restored journal may not be noticed.
fn copy(marks: &Marks) -> PartState {
    marks.unwritten().map_or(PartState::Up, |why| PartState::Degraded(format!("it cannot be written: {why}")))
}

/// One agency's failure leaves the process ready: others are served.
fn circuit(metrics: &Metrics, agency: &AgencyName) -> PartState {
    match metrics.is_breaker_open(agency) {
        true => PartState::Degraded("it is open: the agency failed again and again, its submissions wait".into()),
        false => PartState::Up,
    }
}

/// Whether the agency can be shown our certificate, and takes it.
fn identity(connections: &AgencyConnections, agency: &AgencyName, clock: &dyn Clock) -> PartState {
    // An agency that is stopped by its key files is told of as such.
    let Some(Ok(line)) = connections.get(agency) else { return PartState::Up };
    match line.check_identity(clock.now()) {
        Ok(()) => PartState::Up,
        Err(fault) => PartState::Degraded(format!("{} {}", fault.code.public_text(), fault.detail)),
    }
}

/// Bad key files stop their own agency, and the process stays ready for the others.
fn keys(connections: &AgencyConnections, agency: &AgencyName) -> PartState {
    connections.trouble(agency).map_or(PartState::Up, PartState::Degraded)
}

/// Bad files of one office's webhook stop that webhook alone.
fn webhook(webhook_clients: &WebhookClients, office: &OfficeName) -> PartState {
    webhook_clients.trouble(office).map_or(PartState::Up, PartState::Degraded)
}

type Asked = fn(Arc<QueueSights>, AgencyName) -> BoxFuture<'static, PartState>;

fn of_queues(sights: &Arc<QueueSights>, agency: &AgencyName, ask: Asked) -> Part {
    let (sights, agency) = (sights.clone(), agency.clone());
    Box::new(move || ask(sights.clone(), agency.clone()))
}
