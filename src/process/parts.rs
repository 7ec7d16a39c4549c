//! What all roles of a process share: stores, clock and tokens come in; running roles go out.

use super::{
    installation::Installation,
    role::{DRAIN, Role},
    start_error::StartError,
};
use crate::{
    attachments::AttachmentStore,
    broker::{Broker, LogOnce},
    delivery::{ClockJumpDetector, Contents, Deliverer, FastPath, MarkKeeper, Recorder},
    domain::Clock,
    journal::Journal,
    roles::{
        dispatch::Dispatch,
        gateway::{Gateway, GatewayCertificates, GatewayParts},
        notifier::{Notifier, NotifierParts, WebhookClients},
        scheduler::{HOUSEKEEPING_EVERY, Relay, Scheduler},
        worker::Worker,
    },
    submissions::{Listeners, Submissions},
    telemetry::Metrics,
};
use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(super) type RunningGateway = (SocketAddr, Arc<Notify>);

/// What all roles of a process share. The start makes it, each role takes of it what it needs, and it is gone when all of
/// them run; what the stop needs goes into the [`Process`](super::Process).
pub(super) struct Shared {
    pub journal: Arc<dyn Journal>,
    pub broker: Arc<dyn Broker>,
    pub clock: Arc<dyn Clock>,
    /// What every role counts, and the operations listener shows.
    pub metrics: Metrics,
    /// The folder of attachments' files: the gateway writes them, the worker reads them, the scheduler removes them.
    pub attachments: AttachmentStore,
    /// Notified by whoever writes an outbox row; the scheduler's relay waits for it.
    pub outbox_filled: Arc<Notify>,
    /// From this process's gateway to its worker and back.
    pub fast_path: Arc<FastPath>,
    /// Moves the journal's mark on before the worker sends. The restore guard holds it as well.
    pub mark_keeper: Arc<MarkKeeper>,
    /// Cancelled when the process is to stop; every task holds it.
    pub stop: CancellationToken,
    /// Cancelled when the time to stop in is up; whoever waits for the journal holds it.
    pub abort: CancellationToken,
    /// Every task of every role. The stop waits for all of them.
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
            submissions: self.submissions(),
            journal: self.journal.clone(),
            broker: self.broker.clone(),
            catalogue: installation.catalogue.clone(),
            adapters: installation.adapters.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            shutdown: self.stop.clone(),
            grace: DRAIN,
            dispatch: Some(Dispatch::start(self.relay(installation), &self.tasks, self.stop.clone())),
            fast_path: self.fast_path.clone(),
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
            waiters: self.fast_path.waiters(),
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
            log_once: LogOnce::default(),
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
        })?;
        self.tasks.spawn(notifier.ended);
        let _ = self.webhook_clients.set(notifier.clients);
        Ok(())
    }

    fn worker(&self, installation: &Installation) -> Worker {
        let recorder = Recorder {
            submissions: self.submissions(),
            journal: self.journal.clone(),
            clock: self.clock.clone(),
            abort: self.abort.clone(),
        };
        let deliverer = Deliverer {
            recorder,
            fast_path: self.fast_path.clone(),
            catalogue: installation.catalogue.clone(),
            connections: installation.connections.clone(),
            contents: Contents::new(self.attachments.clone()),
            clock: self.clock.clone(),
            clock_jumps: ClockJumpDetector::beginning(self.clock.now()),
            mark_keeper: self.mark_keeper.clone(),
            metrics: self.metrics.clone(),
            wire_max_bytes: installation.settings.journal.wire_max_bytes,
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
