//! The courier: notices that are due come in from the journal, signed webhooks go out to offices (Standard Webhooks 1.0).
//!
//! Each office has its own slots with its own limit. A slots that is full turns notices away, whose lease then runs out in
//! the journal: so a webhook that is dead fills its own slots and delays no other office.

mod address;
mod delivery;
mod webhook_client;
mod webhook_clients;

pub use address::{ForbiddenAddress, check_host, is_public};
pub use webhook_client::{PostError, check_webhook, resolve_webhook};
pub use webhook_clients::WebhookClients;

use super::lasting::lasting;
use crate::{
    domain::{Clock, OfficeName, Schedule, later},
    journal::{Journal, Notice},
    settings::OfficeSettings,
    telemetry::Metrics,
};
use delivery::deliver;
use jiff::{SignedDuration, Timestamp};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use webhook_client::WebhookClient;

/// What a courier is made of.
pub struct NotifierParts {
    pub offices: Vec<OfficeSettings>,
    pub journal: Arc<dyn Journal>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub schedule: Schedule,
    pub shutdown: CancellationToken,
    /// Notified when there may be a new notice; without it they are found within a second.
    pub wake: Option<Arc<Notify>>,
}

/// A courier that runs.
pub struct Notifier {
    /// What it posts into, for those who tell how it is.
    pub clients: Arc<WebhookClients>,
    /// Ends when the last delivery has, after `shutdown`.
    pub ended: JoinHandle<()>,
}

/// What is wrong with a webhook's settings; bad files stop it alone, see [`WebhookClients`].
#[derive(Debug, thiserror::Error)]
pub enum NotifierError {
    #[error("the webhook of office {office}: {error}")]
    Webhook { office: OfficeName, error: PostError },
}

/// What deliveries work with.
struct Round {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    schedule: Schedule,
    clients: Arc<WebhookClients>,
    slots: BTreeMap<OfficeName, OfficeSlots>,
}

/// How many deliveries to one office's webhook may be under way or wait for it.
struct OfficeSlots {
    at_once: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// At the files of webhooks.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
const CLAIMED_AT_ONCE: u32 = 100;
const DELIVERIES_AT_ONCE: usize = 8;
/// Of one office, in memory: a few hundred bytes each.
const PLACES: usize = 2000;
/// A full slots of quick deliveries takes less. What a slow receiver's slots does not get to goes back untried.
const LEASE: SignedDuration = SignedDuration::from_secs(180);

impl Notifier {
    pub fn start(parts: NotifierParts) -> Result<Self, NotifierError> {
        let clients = Arc::new(WebhookClients::open(&parts.offices, parts.clock.now())?);
        let slots = clients.offices().map(|office| (office.clone(), OfficeSlots::new())).collect();
        let round = Round {
            journal: parts.journal,
            clock: parts.clock,
            metrics: parts.metrics,
            schedule: parts.schedule,
            clients: clients.clone(),
            slots,
        };
        let round = Arc::new(round);
        let (wake, shutdown) = (parts.wake, parts.shutdown);
        let walk = move || walk(round.clone(), wake.clone(), shutdown.clone());
        Ok(Self { clients, ended: tokio::spawn(async move { lasting("webhooks", walk).await }) })
    }
}

impl OfficeSlots {
    fn new() -> Self {
        Self { at_once: Arc::new(Semaphore::new(DELIVERIES_AT_ONCE)), places: Arc::new(Semaphore::new(PLACES)) }
    }
}

async fn walk(round: Arc<Round>, wake: Option<Arc<Notify>>, shutdown: CancellationToken) {
    let deliveries = TaskTracker::new();
    let mut refreshed = Instant::now();
    while !shutdown.is_cancelled() {
        if refreshed.elapsed() > REFRESH_EVERY {
            let (clients, now) = (round.clients.clone(), round.clock.now());
            // What was refused is logged by the room that refuses it.
            let _ = tokio::task::spawn_blocking(move || clients.refresh(now)).await;
            refreshed = Instant::now();
        }
        let claimed = claim(&round).await;
        let is_full = claimed.len() == CLAIMED_AT_ONCE as usize;
        let lease_until = lease_from(round.clock.now());
        for notice in claimed {
            begin(&round, notice, lease_until, &deliveries, &shutdown);
        }
        if is_full {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = woken(wake.as_deref()) => {}
            () = shutdown.cancelled() => {}
        }
    }
    // What had begun ends within its timeout; what waited goes back when its lease runs out.
    deliveries.close();
    deliveries.wait().await;
}

async fn woken(wake: Option<&Notify>) {
    match wake {
        Some(wake) => wake.notified().await,
        None => std::future::pending().await,
    }
}

async fn claim(round: &Round) -> Vec<Notice> {
    let now = round.clock.now();
    match round.journal.claim_notices(CLAIMED_AT_ONCE, now, lease_from(now)).await {
        Ok(notices) => notices,
        Err(error) => {
            match error {
                // Who holds it says so.
                crate::journal::JournalError::Held(_) => tracing::debug!(%error, "notices could not be read"),
                _ => tracing::warn!(%error, "notices could not be read"),
            }
            Vec::new()
        }
    }
}

fn lease_from(now: Timestamp) -> Timestamp {
    later(now, LEASE)
}

fn begin(
    round: &Arc<Round>,
    notice: Notice,
    lease_until: Timestamp,
    deliveries: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let round = round.clone();
    let shutdown = shutdown.clone();
    let Some(slots) = round.slots.get(&notice.office) else {
        // The office has no webhook any more.
        deliveries.spawn(async move { delivery::give_up(&round.journal, &round.metrics, &notice).await });
        return;
    };
    let Ok(place) = slots.places.clone().try_acquire_owned() else { return };
    let at_once = slots.at_once.clone();
    deliveries.spawn(async move {
        if let Some(client) = usable(&round, &notice, lease_until, &shutdown).await {
            let turn = tokio::select! {
                turn = at_once.acquire_owned() => turn.ok(),
                () = shutdown.cancelled() => None,
            };
            if turn.is_some() && round.clock.now() < lease_until {
                deliver(&round, &client, &notice).await;
            }
        }
        drop(place);
    });
}

/// While a webhook is stopped its notices wait, and use no tries: what has waited too long goes back to the journal.
async fn usable(
    round: &Round,
    notice: &Notice,
    lease_until: Timestamp,
    shutdown: &CancellationToken,
) -> Option<Arc<WebhookClient>> {
    loop {
        let client = round.clients.get(&notice.office);
        if client.is_some() || round.clock.now() >= lease_until {
            return client;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.cancelled() => return None,
        }
    }
}
