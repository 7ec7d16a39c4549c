//! What the gateway is made of, and what its handlers work with.

use super::{
    limits::{Capacity, Limits},
    office_directory::KnownOffice,
    quota::Quota,
};
use crate::{
    adapter::Adapters,
    attachments::AttachmentStore,
    broker::Broker,
    catalogue::Catalogue,
    delivery::FastPath,
    domain::{Clock, Code, SubmissionId},
    http_server::Problem,
    journal::{Journal, Record},
    roles::dispatch::Dispatch,
    settings::{GatewaySettings, OfficeSettings},
    submissions::Submissions,
    telemetry::Metrics,
};
use std::{sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a gateway is made of.
pub struct GatewayParts {
    pub settings: GatewaySettings,
    pub offices: Vec<OfficeSettings>,
    pub submissions: Submissions,
    pub journal: Arc<dyn Journal>,
    pub broker: Arc<dyn Broker>,
    pub catalogue: Arc<Catalogue>,
    pub adapters: Arc<Adapters>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub shutdown: CancellationToken,
    /// For requests under way once `shutdown` is cancelled.
    pub grace: Duration,
    /// What was accepted goes to the broker through it at once; otherwise by the relay.
    pub dispatch: Option<Dispatch>,
    /// To a worker in this process, and back.
    pub fast_path: Arc<FastPath>,
}

/// Everything that handlers work with. The router and every request under way share it; it lasts until the last of them has
/// ended.
pub struct GatewayState {
    pub(super) settings: GatewaySettings,
    /// What may be done with submissions; the only way to change one.
    pub(super) submissions: Submissions,
    /// For what is no submission: attachments.
    pub(super) journal: Arc<dyn Journal>,
    /// For news of submissions whose state another process changes.
    pub(super) broker: Arc<dyn Broker>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) adapters: Arc<Adapters>,
    /// The folder of attachments' files.
    pub(super) attachments: AttachmentStore,
    /// One task for each file that is being given its name and row; the gateway ends after them.
    pub(super) keeping: TaskTracker,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
    /// How much all offices may ask for at once. Requests hold its permits, which return when they are dropped.
    pub(super) limits: Limits,
    /// How much may be uploaded. Uploads hold shares of it until their file is in the journal, or given up.
    pub(super) quota: Arc<Quota>,
    /// Takes what was accepted to the broker at once; without it all is left to the relay.
    pub(super) dispatch: Option<Dispatch>,
    /// To a worker in this process, and back: what was just accepted, and who waits here for its end.
    pub(super) fast_path: Arc<FastPath>,
    /// Cancelled when the process stops: new requests are refused, and those that wait are answered.
    pub(super) shutdown: CancellationToken,
}

impl GatewayState {
    pub(super) fn new(parts: GatewayParts, attachments: AttachmentStore) -> Self {
        Self {
            quota: Arc::default(),
            keeping: TaskTracker::new(),
            limits: Limits::new(Capacity::of(&parts.settings)),
            settings: parts.settings,
            submissions: parts.submissions,
            journal: parts.journal,
            broker: parts.broker,
            catalogue: parts.catalogue,
            adapters: parts.adapters,
            attachments,
            clock: parts.clock,
            metrics: parts.metrics,
            dispatch: parts.dispatch,
            fast_path: parts.fast_path,
            shutdown: parts.shutdown,
        }
    }

    /// The submission, if it is this office's: another's does not exist for it.
    pub(super) async fn find(&self, office: &KnownOffice, id: SubmissionId) -> Result<Record, Problem> {
        let record = self.submissions.find(id).await?;
        let own = record.filter(|record| record.submission.office == office.office.name);
        own.ok_or_else(|| Code::RequestNotFound.into())
    }
}
