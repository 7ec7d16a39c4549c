//! Queues that somebody has deleted: an agency whose message found no queue comes in, its queues exist a little later.

use super::{reconnecting::ReconnectingConnection, topology::Topology};
use crate::{broker::BrokerError, domain::AgencyName};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Not at once: RabbitMQ 3.10 must have told the consumers of the old queue first, or they hang on the new one.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Restorer {
    /// The broker's connection to publish; it is closed by the broker.
    reconnecting: ReconnectingConnection,
    /// Shared with the whole broker: it declares, and knows which agencies were ever declared.
    topology: Arc<Topology>,
    /// The broker's; each agency under way is one task, and closing the broker waits for it.
    tasks: TaskTracker,
    /// Cancelled by the broker when it closes: a pause that is under way ends.
    stop: CancellationToken,
    /// Agencies that have a task now; the task removes its own at its end.
    under_way: Arc<Mutex<HashSet<AgencyName>>>,
}

impl Restorer {
    pub(super) fn new(
        reconnecting: ReconnectingConnection,
        topology: Arc<Topology>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self { reconnecting, topology, tasks, stop, under_way: Arc::default() }
    }

    /// Agencies that were never declared are nobody's mistake but the caller's.
    pub(super) fn restore(&self, agency: &AgencyName) {
        if self.topology.is_known(agency) && self.under_way().insert(agency.clone()) {
            self.tasks.spawn(self.clone().run(agency.clone()));
        }
    }

    async fn run(self, agency: AgencyName) {
        tokio::select! {
            () = self.stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        let declared = match self.reconnecting.now() {
            Ok(connection) => self.topology.declare(&connection, std::slice::from_ref(&agency)).await,
            // The next connection restores everything.
            Err(_) => Ok(()),
        };
        match declared {
            // The topology has logged it, once.
            Ok(()) | Err(BrokerError::Topology(_)) => {}
            Err(error) => {
                tracing::warn!(%agency, %error, "the agency's queues are missing and could not be made again")
            }
        }
        self.under_way().remove(&agency);
    }

    fn under_way(&self) -> MutexGuard<'_, HashSet<AgencyName>> {
        self.under_way.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
