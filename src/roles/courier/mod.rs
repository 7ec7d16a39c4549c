//! The courier: notices that are due come in from the journal, signed webhooks go out to offices (Standard Webhooks 1.0).
//!
//! Each office has its own lane with its own limit. A lane that is full turns notices away, whose lease then runs out in
//! the journal: so a webhook that is dead fills its own lane and delays no other office.

mod address;
mod delivery;
mod post;
mod postboxes;

pub use address::{ForbiddenAddress, check_host, is_public};
pub use post::{PostError, check_webhook, resolve_webhook};
pub use postboxes::Postboxes;

use super::lasting::lasting;
use crate::{
    domain::{Clock, OfficeName, Schedule, later},
    journal::{Journal, Notice},
    settings::OfficeSettings,
    telemetry::Metrics,
};
use delivery::deliver;
use jiff::{SignedDuration, Timestamp};
use post::Postbox;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinHandle,
    time::Instant,
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
    /// What it posts into, for those who tell how it is.
    pub postboxes: Arc<Postboxes>,
    /// Ends when the last delivery has, after `shutdown`.
    pub ended: JoinHandle<()>,
}

/// What is wrong with a webhook's settings; bad files stop it alone, see [`Postboxes`].
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    #[error("the webhook of office {office}: {error}")]
    Webhook { office: OfficeName, error: PostError },
}

/// What deliveries work with.
struct Round {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    schedule: Schedule,
    postboxes: Arc<Postboxes>,
    lanes: BTreeMap<OfficeName, Lane>,
}

/// How many deliveries to one office's webhook may be under way or wait for it.
struct Lane {
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
/// A full lane of quick deliveries takes less. What a slow receiver's lane does not get to goes back untried.
const LEASE: SignedDuration = SignedDuration::from_secs(180);

impl Courier {
    pub fn start(parts: CourierParts) -> Result<Self, CourierError> {
        let postboxes = Arc::new(Postboxes::open(&parts.offices, parts.clock.now())?);
        let lanes = postboxes.offices().map(|office| (office.clone(), Lane::new())).collect();
        let round = Round {
            journal: parts.journal,
            clock: parts.clock,
            metrics: parts.metrics,
            schedule: parts.schedule,
            postboxes: postboxes.clone(),
            lanes,
        };
        let round = Arc::new(round);
        let (wake, shutdown) = (parts.wake, parts.shutdown);
        let walk = move || walk(round.clone(), wake.clone(), shutdown.clone());
        Ok(Self { postboxes, ended: tokio::spawn(async move { lasting("webhooks", walk).await }) })
    }
}

impl Lane {
    fn new() -> Self {
        Self { at_once: Arc::new(Semaphore::new(DELIVERIES_AT_ONCE)), places: Arc::new(Semaphore::new(PLACES)) }
    }
}

async fn walk(round: Arc<Round>, wake: Option<Arc<Notify>>, shutdown: CancellationToken) {
    let deliveries = TaskTracker::new();
    let mut refreshed = Instant::now();
    while !shutdown.is_cancelled() {
        if refreshed.elapsed() > REFRESH_EVERY {
            let (postboxes, now) = (round.postboxes.clone(), round.clock.now());
            // What was refused is logged by the room that refuses it.
            let _ = tokio::task::spawn_blocking(move || postboxes.refresh(now)).await;
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
    let Some(lane) = round.lanes.get(&notice.office) else {
        // The office has no webhook any more.
        deliveries.spawn(async move { delivery::give_up(&round.journal, &round.metrics, &notice).await });
        return;
    };
    let Ok(place) = lane.places.clone().try_acquire_owned() else { return };
    let at_once = lane.at_once.clone();
    deliveries.spawn(async move {
        if let Some(postbox) = usable(&round, &notice, lease_until, &shutdown).await {
            let turn = tokio::select! {
                turn = at_once.acquire_owned() => turn.ok(),
                () = shutdown.cancelled() => None,
            };
            if turn.is_some() && round.clock.now() < lease_until {
                deliver(&round, &postbox, &notice).await;
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
) -> Option<Arc<Postbox>> {
    loop {
        let postbox = round.postboxes.get(&notice.office);
        if postbox.is_some() || round.clock.now() >= lease_until {
            return postbox;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.cancelled() => return None,
        }
    }
}
