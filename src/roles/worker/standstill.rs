//! Standstill: while our certificate is past its dates, or the agency does not take it, nothing is sent to it by anybody, and
//! no submission is the probe.

use super::{AgencyConsumer, consumer_state::PAUSE};
use crate::delivery::AgencyConnection;
use jiff::Timestamp;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Whose wait is in their timelines already.
struct Told {
    since: Timestamp,
    /// What was queued before has been told.
    until: Timestamp,
}

impl AgencyConsumer {
    pub(super) async fn stand_still(&self, connection: &AgencyConnection, stop: &CancellationToken) {
        let agency = &self.adapter.agency;
        self.metrics.halted(agency, true);
        let dates = connection.check_dates(self.clock.now());
        if let Err(fault) = &dates {
            tracing::error!(%agency, %fault, "nothing is sent there until a pair that is valid is in its place");
        }
        let mut told = Told { since: self.clock.now(), until: Timestamp::MIN };
        while let Some(rest) = self.rest_of_standstill(connection).await {
            self.tell_of_the_wait(connection, &mut told).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
            }
        }
        if dates.is_err() {
            tracing::warn!(%agency, "our certificate for the agency is valid; sending goes on");
        }
        self.metrics.halted(agency, false);
    }

    /// What lies in the queue stays there, for a worker whom the agency lets in; what nobody has taken so soon says that it waits.
    async fn tell_of_the_wait(&self, connection: &AgencyConnection, told: &mut Told) {
        let now = self.clock.now();
        let Err(fault) = connection.check_identity(now) else { return };
        let of = told.until..now.checked_sub(PAUSE).unwrap_or(now);
        let (agency, until) = (&self.adapter.agency, of.end);
        match self.deliverer.recorder.submissions.keep_waiting(agency, of, told.since, &fault).await {
            Ok(_) => told.until = until,
            Err(error) => tracing::debug!(%agency, %error, "what waits cannot be told yet"),
        }
    }

    /// How long nothing will change by itself; `None`: it is over.
    async fn rest_of_standstill(&self, connection: &AgencyConnection) -> Option<Duration> {
        if connection.check_dates(self.clock.now()).is_err() {
            return Some(PAUSE);
        }
        let halted = connection.halt.halted()?;
        if halted.next_check > Instant::now() {
            return Some(PAUSE.min(halted.next_check.saturating_duration_since(Instant::now())));
        }
        connection.recheck_halt().await;
        connection.halt.halted().map(|_| Duration::ZERO)
    }

    pub(super) fn halted_connection(&self) -> Option<Arc<AgencyConnection>> {
        self.deliverer
            .connections
            .get(&self.adapter.agency)?
            .ok()
            .filter(|connection| connection.check_identity(self.clock.now()).is_err())
    }
}
