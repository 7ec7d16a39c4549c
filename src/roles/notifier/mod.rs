//! The notifier: notices that are due come in from the journal, signed webhooks go out to offices (Standard Webhooks 1.0).
//!
//! Of one notice: it is claimed from the journal with a lease ([`claims`]), waits for its turn among its office's deliveries
//! ([`state`]), is posted by the office's own client ([`webhook_clients`], [`webhook_client`], [`address`]), and its end is
//! written to the journal ([`delivery`]).

mod claims;
mod state;
mod webhook_clients;
mod webhook_client;
mod address;
mod delivery;

pub use address::{check_host, is_public};
pub use webhook_client::{check_webhook, resolve_webhook};
pub use webhook_clients::{NotifierError, WebhookClients};

use super::supervise::restart_on_panic;
use crate::{
    domain::{Clock, Schedule},
    journal::Journal,
    settings::OfficeSettings,
    submissions::Submissions,
    telemetry::Metrics,
};
use state::{NoticeLimits, NotifierState};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a notifier is made of.
pub struct NotifierParts {
    pub offices: Vec<OfficeSettings>,
    pub journal: Arc<dyn Journal>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub schedule: Schedule,
    pub shutdown: CancellationToken,
}

/// A notifier that runs.
pub struct Notifier {
    /// The webhooks' clients, for those who tell how they are.
    pub clients: Arc<WebhookClients>,
    /// Ends when the last delivery has, after `shutdown`.
    pub ended: JoinHandle<()>,
}

impl Notifier {
    pub fn start(parts: NotifierParts) -> Result<Self, NotifierError> {
        let clients = Arc::new(WebhookClients::open(&parts.offices, parts.clock.now())?);
        let state = Arc::new(NotifierState {
            submissions: Submissions::without_listeners(parts.journal.clone(), parts.clock.clone()),
            journal: parts.journal,
            clock: parts.clock,
            metrics: parts.metrics,
            schedule: parts.schedule,
            deliveries: NoticeLimits::of(clients.offices()),
            clients: clients.clone(),
        });
        let shutdown = parts.shutdown;
        let run = move || claims::run(state.clone(), shutdown.clone());
        Ok(Self { clients, ended: tokio::spawn(async move { restart_on_panic("webhooks", run).await }) })
    }
}
