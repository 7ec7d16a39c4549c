//! The courier: notices that are due come in from the journal, signed webhooks go out to offices (Standard Webhooks 1.0).
//!
//! Each office has its own lane with its own limit. A lane that is full turns notices away, whose lease then runs out in
//! the journal: so a webhook that is dead fills its own lane and delays no other office.

mod address;
mod delivery;
mod post;

pub use address::{ForbiddenAddress, check_host, is_public};
pub use post::check_webhook;

use crate::{
    domain::{Clock, OfficeName, Schedule},
    journal::{Journal, Notice},
    settings::OfficeSettings,
    telemetry::Metrics,
    trust::TrustError,
};
use delivery::deliver;
use jiff::{SignedDuration, Timestamp};
use post::{PostError, Postbox};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a courier is made of.
pub struct CourierParts {
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
pub struct Courier {
    /// Ends when the last delivery has, after `shutdown`.
    pub ended: JoinHandle<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    #[error("the webhook of office {office}: {error}")]
    Webhook { office: OfficeName, error: PostError },
    #[error("the webhook of office {office}: {error}")]
    Trust { office: OfficeName, error: TrustError },
}

/// What deliveries work with.
struct Round {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    schedule: Schedule,
    lanes: BTreeMap<OfficeName, Lane>,
}

/// One office's webhook, and how many deliveries may be under way or wait for it.
struct Lane {
    postbox: Arc<Postbox>,
    at_once: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
const CLAIMED_AT_ONCE: u32 = 100;
const DELIVERIES_AT_ONCE: usize = 8;
/// Of one office, in memory: a few hundred bytes each.
const PLACES: usize = 2000;
/// A full lane of quick deliveries takes less. What a slow receiver's lane does not get to goes back untried.
const LEASE: SignedDuration = SignedDuration::from_secs(180);

impl Courier {
    pub fn start(parts: CourierParts) -> Result<Self, CourierError> {
        let mut lanes = BTreeMap::new();
        for settings in &parts.offices {
            if let Some(webhook) = &settings.webhook {
                let office = settings.office.name.clone();
                let postbox =
                    Postbox::new(webhook).map_err(|error| CourierError::Webhook { office: office.clone(), error })?;
                lanes.insert(office, Lane::new(postbox));
            }
        }
        let round = Round {
            journal: parts.journal,
            clock: parts.clock,
            metrics: parts.metrics,
            schedule: parts.schedule,
            lanes,
        };
        Ok(Self { ended: tokio::spawn(walk(Arc::new(round), parts.wake, parts.shutdown)) })
    }
}

impl Lane {
    fn new(postbox: Postbox) -> Self {
        Self {
            postbox: Arc::new(postbox),
            at_once: Arc::new(Semaphore::new(DELIVERIES_AT_ONCE)),
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }
}

async fn walk(round: Arc<Round>, wake: Option<Arc<Notify>>, shutdown: CancellationToken) {
    let deliveries = TaskTracker::new();
    while !shutdown.is_cancelled() {
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
    now.saturating_add(LEASE).unwrap_or(Timestamp::MAX)
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
    let Some(lane) = round.lanes.get(&notice.office) else {
        // The office has no webhook any more.
        deliveries.spawn(async move { delivery::give_up(&round.journal, &round.metrics, &notice).await });
        return;
    };
    let Ok(place) = lane.places.clone().try_acquire_owned() else { return };
    let (postbox, at_once) = (lane.postbox.clone(), lane.at_once.clone());
    deliveries.spawn(async move {
        let turn = tokio::select! {
            turn = at_once.acquire_owned() => turn.ok(),
            () = shutdown.cancelled() => None,
        };
        if turn.is_some() && round.clock.now() < lease_until {
            deliver(&round, &postbox, &notice).await;
        }
        drop((turn, place));
    });
}
