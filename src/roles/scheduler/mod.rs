//! The scheduler: due times of the journal come in; retries, expiries, repairs and erasures go out.

mod deadlines;
mod housekeeping;
mod reconcile;
mod relay;
mod state;

pub use deadlines::after_due_time;
pub use reconcile::missing;
pub use relay::{Published, Relay};
pub use state::{HOUSEKEEPING_EVERY, Scheduler};

use super::supervise::restart_on_panic;
use crate::{broker::LogOnce, journal::JournalError};
use deadlines::Looked;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How soon what other processes have added is seen.
const TICK: Duration = Duration::from_millis(200);
/// While the outbox has something that the broker takes little by little.
const QUICK_TICK: Duration = Duration::from_millis(20);
/// How exact due times are.
const SHORTEST: Duration = Duration::from_millis(10);
/// How often the broker's queues are compared with the journal, within the time after which a message counts as lost.
const COMPARISONS: u32 = 4;
/// After a failure of journal or broker.
const PAUSE: Duration = Duration::from_secs(1);

impl Scheduler {
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (times, repairs) = (self.clone(), self.clone());
        let (stop_times, stop_repairs) = (stop.clone(), stop.clone());
        let times = tokio::spawn(async move { restart_on_panic("due times", || times.watch_times(&stop_times)).await });
        let repairs = tokio::spawn(async move { restart_on_panic("repairs", || repairs.repair(&stop_repairs)).await });
        restart_on_panic("relay", || self.relay(&stop)).await;
        let _ = tokio::join!(times, repairs);
    }

    /// Moves the outbox into the broker: at once when told, and at every tick.
    async fn relay(&self, stop: &CancellationToken) {
        let relay = Relay {
            submissions: self.submissions.clone(),
            broker: self.broker.clone(),
            adapters: self.adapters.clone(),
            clock: self.clock.clone(),
            log_once: LogOnce::default(),
        };
        while !stop.is_cancelled() {
            let wait = match relay.drain().await {
                // More may wait for room in the agencies' windows.
                Ok(relayed) if relayed.refused == 0 && relayed.published > 0 => QUICK_TICK,
                Ok(relayed) if relayed.refused == 0 => TICK,
                Ok(_) => PAUSE,
                Err(error) => {
                    log_pause(&error);
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.outbox_filled.notified(), if wait <= TICK => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn watch_times(&self, stop: &CancellationToken) {
        let mut unkept = BTreeSet::new();
        while !stop.is_cancelled() {
            let wait = match deadlines::look(self, &mut unkept).await {
                Ok(Looked::All) => self.until_next().await,
                Ok(Looked::Some) => SHORTEST,
                Err(error) => {
                    log_pause(&error);
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// To the moment at which something is due, if it comes before the next tick.
    async fn until_next(&self) -> Duration {
        let next = self.submissions.next_due().await.ok().flatten();
        let wait = next.map(|next| next.duration_since(self.clock.now()));
        match wait {
            // Nobody takes it now: it cannot be read, or the broker is away.
            Some(wait) if wait.is_negative() && wait.unsigned_abs() > TICK => TICK,
            Some(wait) => Duration::try_from(wait).unwrap_or_default().clamp(SHORTEST, TICK),
            None => TICK,
        }
    }

    async fn repair(&self, stop: &CancellationToken) {
        let (mut housekeeping_due, mut owes_traces) = (Instant::now(), false);
        // A process before this one may have died between erasing and removing traces. Nobody knows, and looking costs a
        // moment in which nothing is written: not at the start, but an hour later, once.
        let mut did_owe_before = true;
        let pause = self.lost_after.unsigned_abs() / COMPARISONS;
        while !stop.is_cancelled() {
            if let Err(error) = reconcile::compare(self).await {
                log_pause(&error);
            }
            if Instant::now() >= housekeeping_due {
                housekeeping_due = Instant::now() + self.housekeeping_every;
                housekeeping::tidy(self, &mut owes_traces).await;
                owes_traces |= std::mem::take(&mut did_owe_before);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

fn log_pause(error: &JournalError) {
    match error {
        // The restore guard logs why the journal is suspended.
        JournalError::Suspended(_) => tracing::debug!(%error, "the scheduler pauses"),
        _ => tracing::warn!(%error, "the scheduler pauses"),
    }
}
