//! Standstill: while our certificate is past its dates, or the agency does not take it, nothing is sent to it by anybody, and
//! no submission is the probe.

use super::consumer_state::PAUSE;
use crate::{
    delivery::AgencyConnection,
    domain::{AgencyName, Clock},
    submissions::Submissions,
    telemetry::Metrics,
};
use jiff::Timestamp;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Made by an agency's consumer when it finds that nothing may be sent, and dropped when something may again.
pub(super) struct Standstill<'a> {
    pub agency: &'a AgencyName,
    /// What finds out whether the agency takes our certificate again.
    pub connection: &'a AgencyConnection,
    /// For the timelines of submissions that wait meanwhile.
    pub submissions: &'a Submissions,
    pub clock: &'a dyn Clock,
    pub metrics: &'a Metrics,
}

/// Whose wait is in their timelines already.
struct Told {
    since: Timestamp,
    /// What was queued before has been told.
    until: Timestamp,
}

impl Standstill<'_> {
    /// Until something may be sent again, or the process stops.
    pub async fn wait(&self, stop: &CancellationToken) {
        let agency = self.agency;
        self.metrics.halted(agency, true);
        let dates = self.connection.check_dates(self.clock.now());
        if let Err(fault) = &dates {
            tracing::error!(%agency, %fault, "nothing is sent there until a pair that is valid is in its place");
        }
        let mut told = Told { since: self.clock.now(), until: Timestamp::MIN };
        while let Some(rest) = self.rest().await {
            self.tell_of_the_wait(&mut told).await;
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
    async fn tell_of_the_wait(&self, told: &mut Told) {
        let now = self.clock.now();
        let Err(fault) = self.connection.check_identity(now) else { return };
        let of = told.until..now.checked_sub(PAUSE).unwrap_or(now);
        let (agency, until) = (self.agency, of.end);
        match self.submissions.keep_waiting(agency, of, told.since, &fault).await {
            Ok(_) => told.until = until,
            Err(error) => tracing::debug!(%agency, %error, "what waits cannot be told yet"),
        }
    }

    /// How long nothing will change by itself; `None`: it is over.
    async fn rest(&self) -> Option<Duration> {
        if self.connection.check_dates(self.clock.now()).is_err() {
            return Some(PAUSE);
        }
        let halted = self.connection.halt.halted()?;
        if halted.next_check > Instant::now() {
            return Some(PAUSE.min(halted.next_check.saturating_duration_since(Instant::now())));
        }
        self.connection.recheck_halt().await;
        self.connection.halt.halted().map(|_| Duration::ZERO)
    }
}
