//! What deliveries of notices work with, and how many of them one office may have at the same time.

use super::webhook_clients::WebhookClients;
use crate::{
    domain::{Clock, OfficeName, Schedule},
    journal::Journal,
    submissions::Submissions,
    telemetry::Metrics,
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Shared by the loop that claims notices and by every delivery that it begins; it lasts as long as the role runs.
pub(super) struct NotifierState {
    /// Of which the notices speak.
    pub submissions: Submissions,
    /// Holds the notices themselves.
    pub journal: Arc<dyn Journal>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    /// When a webhook that did not take a notice is tried again.
    pub schedule: Schedule,
    /// One client for each office that has a webhook.
    pub clients: Arc<WebhookClients>,
    /// The limits of each office that has a webhook: one whose webhook is dead fills its own and delays no other office.
    pub deliveries: NoticeLimits,
}

/// By office.
pub(super) struct NoticeLimits(BTreeMap<OfficeName, OfficeDeliveries>);

/// How many notices of one office are in this process.
struct OfficeDeliveries {
    /// A permit is held by each notice that waits or is posted, and comes back at its end. Without one a notice is turned
    /// away, and claimed again when its lease in the journal has run out.
    held: Arc<Semaphore>,
    /// A permit is held by each notice while it is being posted.
    posted: Arc<Semaphore>,
}

/// One notice's permit to wait here; it comes back when this is dropped.
pub(super) struct HeldNotice {
    _held: OwnedSemaphorePermit,
    posted: Arc<Semaphore>,
}

pub(super) enum Admission {
    Held(HeldNotice),
    /// The office has as many notices here as it may.
    Full,
    /// The office has no webhook any more.
    NoWebhook,
}

/// Of one office, in memory: a few hundred bytes each.
const MOST_HELD: usize = 2000;
const MOST_POSTED_AT_ONCE: usize = 8;

impl NoticeLimits {
    pub fn of<'a>(offices: impl Iterator<Item = &'a OfficeName>) -> Self {
        Self(offices.map(|office| (office.clone(), OfficeDeliveries::new())).collect())
    }

    pub fn admit(&self, office: &OfficeName) -> Admission {
        let Some(OfficeDeliveries { held, posted }) = self.0.get(office) else { return Admission::NoWebhook };
        match held.clone().try_acquire_owned() {
            Ok(permit) => Admission::Held(HeldNotice { _held: permit, posted: posted.clone() }),
            Err(_) => Admission::Full,
        }
    }
}

impl OfficeDeliveries {
    fn new() -> Self {
        Self { held: Arc::new(Semaphore::new(MOST_HELD)), posted: Arc::new(Semaphore::new(MOST_POSTED_AT_ONCE)) }
    }
}

impl HeldNotice {
    /// Waits until this notice may be posted; the permit is to be held meanwhile.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.posted.clone().acquire_owned().await.ok()
    }
}
