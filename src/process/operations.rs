//! Health and metrics of a process: what its roles are made of comes in; their listener runs, and tells how each component is.

use super::{installation::Installation, parts::Shared, role::Role, start_error::StartError};
use crate::{
    delivery::{AgencyConnections, MarkKeeper},
    domain::{AgencyName, Clock, OfficeName},
    http_server,
    roles::{
        notifier::WebhookClients,
        operations::{ComponentHealth, Operations, OperationsParts, QueueMonitor, Readiness},
    },
    settings::OperationsSettings,
    telemetry::Metrics,
};
use std::{
    future::{Future, ready},
    net::SocketAddr,
    sync::Arc,
};
use tokio::net::TcpSocket;

pub(super) fn reserve_operations(installation: &Installation, roles: &[Role]) -> Result<TcpSocket, StartError> {
    let address = operations_address(&installation.settings.operations, roles);
    http_server::reserve(address).map_err(|error| StartError::Operations { address, error })
}

pub(super) fn run_operations(
    shared: &Shared,
    installation: &Installation,
    roles: &[Role],
    socket: TcpSocket,
) -> Result<SocketAddr, StartError> {
    let operations = Operations::start(OperationsParts {
        socket,
        readiness: Arc::new(readiness(shared, installation, roles)),
        metrics: shared.metrics.clone(),
        shutdown: shared.stop.clone(),
    });
    let address = operations_address(&installation.settings.operations, roles);
    let operations = operations.map_err(|error| StartError::Operations { address, error })?;
    shared.tasks.spawn(operations.ended);
    Ok(operations.address)
}

fn readiness(shared: &Shared, installation: &Installation, roles: &[Role]) -> Readiness {
    let readiness = Readiness::new(shared.stop.clone(), shared.metrics.clone());
    readiness.add_journal(shared.journal.clone());
    let mark_keeper = shared.mark_keeper.clone();
    add(&readiness, "copy of the journal's mark", move || ready(copy(&mark_keeper)));
    let agencies: Vec<_> = installation.adapters.iter().map(|adapter| adapter.agency.clone()).collect();
    let queues = Arc::new(QueueMonitor::new(shared.broker.clone(), agencies.clone(), shared.metrics.clone()));
    readiness.add_broker(shared.broker.clone(), queues.clone());
    if let Some(certificates) = shared.certificates.get().cloned() {
        let state = move || certificates.trouble().map_or(ComponentHealth::Up, ComponentHealth::Degraded);
        add(&readiness, "certificates of the gateway", move || ready(state()));
    }
    if let Some(clients) = shared.webhook_clients.get() {
        for office in clients.offices() {
            let (clients, name) = (clients.clone(), office.clone());
            add(&readiness, format!("webhook of {office}"), move || ready(webhook(&clients, &name)));
        }
    }
    for agency in agencies {
        if roles.contains(&Role::Worker) {
            add_of_worker(&readiness, shared, installation, &queues, &agency);
        }
        let (queues, name) = (queues.clone(), agency.clone());
        add(&readiness, format!("dead letters of {agency}"), move || {
            let (queues, name) = (queues.clone(), name.clone());
            async move { queues.dead_letters(&name).await }
        });
    }
    readiness
}

fn add_of_worker(
    readiness: &Readiness,
    shared: &Shared,
    installation: &Installation,
    queues: &Arc<QueueMonitor>,
    agency: &AgencyName,
) {
    let (metrics, name) = (shared.metrics.clone(), agency.clone());
    add(readiness, format!("circuit of {agency}"), move || ready(circuit(&metrics, &name)));
    let (connections, name, clock) = (installation.connections.clone(), agency.clone(), shared.clock.clone());
    add(readiness, format!("certificate for {agency}"), move || ready(identity(&connections, &name, &*clock)));
    let (connections, name) = (installation.connections.clone(), agency.clone());
    add(readiness, format!("keys of {agency}"), move || ready(keys(&connections, &name)));
    let (queues, name) = (queues.clone(), agency.clone());
    add(readiness, format!("consumers of {agency}"), move || {
        let (queues, name) = (queues.clone(), name.clone());
        async move { queues.consumers(&name).await }
    });
}

fn add<F>(readiness: &Readiness, name: impl Into<String>, ask: impl Fn() -> F + Send + Sync + 'static)
where
    F: Future<Output = ComponentHealth> + Send + 'static,
{
    readiness.add(name, Box::new(move || Box::pin(ask())));
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
fn copy(mark_keeper: &MarkKeeper) -> ComponentHealth {
    mark_keeper
        .unwritten()
        .map_or(ComponentHealth::Up, |why| ComponentHealth::Degraded(format!("it cannot be written: {why}")))
}

/// One agency's failure leaves the process ready: others are served.
fn circuit(metrics: &Metrics, agency: &AgencyName) -> ComponentHealth {
    match metrics.is_breaker_open(agency) {
        true => ComponentHealth::Degraded("it is open: the agency failed again and again, its submissions wait".into()),
        false => ComponentHealth::Up,
    }
}

/// Whether the agency can be shown our certificate, and takes it.
fn identity(connections: &AgencyConnections, agency: &AgencyName, clock: &dyn Clock) -> ComponentHealth {
    // An agency that is stopped by its key files is told of as such.
    let Some(Ok(connection)) = connections.get(agency) else { return ComponentHealth::Up };
    match connection.check_identity(clock.now()) {
        Ok(()) => ComponentHealth::Up,
        Err(fault) => ComponentHealth::Degraded(format!("{} {}", fault.code.public_text(), fault.detail)),
    }
}

/// Bad key files stop their own agency, and the process stays ready for the others.
fn keys(connections: &AgencyConnections, agency: &AgencyName) -> ComponentHealth {
    connections.trouble(agency).map_or(ComponentHealth::Up, ComponentHealth::Degraded)
}

/// Bad files of one office's webhook stop that webhook alone.
fn webhook(webhook_clients: &WebhookClients, office: &OfficeName) -> ComponentHealth {
    webhook_clients.trouble(office).map_or(ComponentHealth::Up, ComponentHealth::Degraded)
}
