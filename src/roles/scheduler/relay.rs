//! The relay: outbox rows of the journal come in, confirmed messages in the broker go out.

use crate::{
    adapter::Adapters,
    broker::{Broker, BrokerError, LogOnce, WorkItem},
    domain::{AgencyName, Clock, Code, Fault, Stage, SubmissionId},
    failpoints::{self, Failpoint},
    journal::{JournalError, OutboxItem, Windows},
    submissions::Submissions,
};
use jiff::SignedDuration;
use std::{collections::BTreeSet, sync::Arc};

pub struct Relay {
    pub submissions: Submissions,
    pub broker: Arc<dyn Broker>,
    pub adapters: Arc<Adapters>,
    pub clock: Arc<dyn Clock>,
    /// Why the broker takes no messages, as it was logged last.
    pub log_once: LogOnce,
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Relayed {
    pub published: usize,
    /// Not taken by the broker; they stay in the outbox.
    pub refused: usize,
}

/// What became of what was to be published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    pub confirmed: Vec<SubmissionId>,
    pub refused: Vec<SubmissionId>,
}

const BATCH: u32 = 256;
/// A relay that dies between claim and confirm delays its batch by this long.
const LEASE: SignedDuration = SignedDuration::from_secs(15);

impl Relay {
    /// Publishes what is due, batch after batch, until nothing is left but what the broker has refused. An agency whose
    /// queue takes nothing keeps no other waiting.
    pub async fn drain(&self) -> Result<Relayed, JournalError> {
        let mut sum = Relayed::default();
        let mut refused_by = Vec::new();
        loop {
            let round = self.round(&mut refused_by).await?;
            sum.published += round.published;
            sum.refused += round.refused;
            if round.refused + round.published < BATCH as usize {
                return Ok(sum);
            }
        }
    }

    async fn round(&self, refused_by: &mut Vec<AgencyName>) -> Result<Relayed, JournalError> {
        let now = self.clock.now();
        let lease_until = now.saturating_add(LEASE).unwrap_or(now);
        let windows = self.windows();
        let claimed = self.submissions.claim_outbox(BATCH, lease_until, refused_by, &windows).await?;
        let (known, unknown): (Vec<_>, Vec<_>) =
            claimed.into_iter().partition(|item| self.adapters.agency(&item.agency).is_some());
        for item in &unknown {
            self.park(item).await?;
        }
        if known.is_empty() {
            return Ok(Relayed::default());
        }
        let items: Vec<WorkItem> = known.into_iter().map(work_item).collect();
        let Published { confirmed, refused } = self.publish(&items).await;
        for item in items.iter().filter(|item| refused.contains(&item.submission)) {
            if !refused_by.contains(&item.agency) {
                refused_by.push(item.agency.clone());
            }
        }
        self.submissions.published(&confirmed).await?;
        failpoints::hit(Failpoint::RelayRecorded);
        self.submissions.unpublished(&refused).await?;
        Ok(Relayed { published: confirmed.len(), refused: refused.len() })
    }

    /// How many of each agency's submissions are carried at most.
    pub fn windows(&self) -> Windows {
        self.adapters.iter().map(|adapter| (adapter.agency.clone(), adapter.limits.window())).collect()
    }

    /// Publishes; the journal is left as it is.
    pub async fn publish(&self, items: &[WorkItem]) -> Published {
        failpoints::hit(Failpoint::RelayClaimed);
        let results = self.broker.publish(items).await;
        failpoints::hit(Failpoint::RelayPublished);
        self.declare_missing(&results).await;
        self.tell(&results);
        let (confirmed, refused) = sort(items, results);
        Published { confirmed, refused }
    }

    /// Its adapter was removed: no worker would ever take it.
    async fn park(&self, item: &OutboxItem) -> Result<(), JournalError> {
        let fault = Fault::new(Code::AgencyUnknown, Stage::Queue, format!("no adapter for {}", item.agency));
        tracing::warn!(submission = %item.submission, agency = %item.agency, "parked: no adapter has this name");
        match self.submissions.park(item.submission, fault).await {
            Ok(_) | Err(JournalError::Forbidden(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Somebody has deleted a queue, or the broker has lost all of them: the next round finds them again.
    async fn declare_missing(&self, results: &[Result<(), BrokerError>]) {
        let missing: BTreeSet<&AgencyName> = results
            .iter()
            .filter_map(|result| match result {
                Err(BrokerError::Unroutable(agency)) => Some(agency),
                _ => None,
            })
            .collect();
        if missing.is_empty() {
            return;
        }
        let missing: Vec<AgencyName> = missing.into_iter().cloned().collect();
        // What stands in the way is told by the broker, and by `tell` as long as messages are refused.
        if let Err(error) = self.broker.declare(&missing).await {
            tracing::debug!(%error, ?missing, "queues could not be declared");
        }
    }

    /// Once for as long as it lasts, and not at every try.
    fn tell(&self, results: &[Result<(), BrokerError>]) {
        match results.iter().find_map(|result| result.as_ref().err()) {
            Some(error) if self.log_once.should_log(&error.to_string()) => {
                tracing::warn!(%error, "the broker does not take messages; they stay in the outbox");
            }
            None if self.log_once.reset() => tracing::info!("the broker takes messages again"),
            Some(_) | None => {}
        }
    }
}

fn work_item(item: OutboxItem) -> WorkItem {
    let OutboxItem { submission, agency, office, priority, trace } = item;
    WorkItem { submission, agency, office, priority, trace }
}

fn sort(items: &[WorkItem], results: Vec<Result<(), BrokerError>>) -> (Vec<SubmissionId>, Vec<SubmissionId>) {
    let (confirmed, refused): (Vec<_>, Vec<_>) = items.iter().zip(results).partition(|(_, result)| result.is_ok());
    let ids = |some: Vec<(&WorkItem, _)>| some.into_iter().map(|(item, _)| item.submission).collect();
    (ids(confirmed), ids(refused))
}
