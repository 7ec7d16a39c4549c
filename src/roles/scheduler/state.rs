//! What the scheduler works with.

use crate::{
    adapter::Adapters,
    attachments::AttachmentStore,
    broker::Broker,
    domain::{Clock, Schedule},
    journal::Journal,
    settings::Retention,
    submissions::Submissions,
    telemetry::Metrics,
};
use jiff::SignedDuration;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// It lives as long as its process; its tasks hold it together.
pub struct Scheduler {
    pub submissions: Submissions,
    /// For attachments and their files.
    pub journal: Arc<dyn Journal>,
    pub broker: Arc<dyn Broker>,
    pub adapters: Arc<Adapters>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub retention: Retention,
    /// How often what has been kept long enough is looked for: [`HOUSEKEEPING_EVERY`], but in tests.
    pub housekeeping_every: Duration,
    /// A message that was published this long ago and not taken up is waiting in the broker, or lost.
    pub lost_after: SignedDuration,
    /// For submissions whose agency is no longer configured.
    pub fallback_schedule: Schedule,
    pub attachments: AttachmentStore,
    /// Somebody in this process has put something into the outbox.
    pub outbox_filled: Arc<Notify>,
}

pub const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(3600);
