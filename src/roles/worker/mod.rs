//! The worker: deliveries of the broker come in, each goes the whole road; one lane an agency, so none delays another.

mod breaker;
mod hand;
mod pace;
mod rate;
mod settlement;
mod standstill;
mod lane;

pub use breaker::{Breaker, Circuit, Failure, Whose};
pub use hand::Hand;
pub use lane::{Lane, LaneParts};

use super::lasting::lasting;
use crate::{
    adapter::Adapters,
    broker::Broker,
    domain::Clock,
    road::{Lines, Road},
    telemetry::Metrics,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub struct Worker {
    pub broker: Arc<dyn Broker>,
    pub adapters: Arc<Adapters>,
    pub road: Arc<Road>,
    pub lines: Arc<Lines>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    /// Tells a relay in this process that there is something to publish.
    pub outbox_filled: Arc<Notify>,
}

/// How often key files are looked at.
const REFRESH_EVERY: Duration = Duration::from_secs(5);

impl Worker {
    /// Runs until stopped, and then until what is under way has ended.
    pub async fn run(self, stop: CancellationToken) {
        let lanes = TaskTracker::new();
        for adapter in self.adapters.iter() {
            let lane = Lane::new(LaneParts {
                adapter: adapter.clone(),
                broker: self.broker.clone(),
                road: self.road.clone(),
                clock: self.clock.clone(),
                metrics: self.metrics.clone(),
                outbox_filled: self.outbox_filled.clone(),
            });
            let (agency, stop) = (adapter.agency.clone(), stop.clone());
            lanes.spawn(async move { lasting(format!("lane of {agency}"), || lane.clone().run(stop.clone())).await });
        }
        lanes.close();
        lasting("key files", || self.refresh(&stop)).await;
        lanes.wait().await;
        for line in self.lines.iter() {
            line.end_looks().await;
        }
    }

    async fn refresh(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(REFRESH_EVERY) => {
                    let (lines, now) = (self.lines.clone(), self.clock.now());
                    // What was refused is logged by the room that refuses it.
                    let _ = tokio::task::spawn_blocking(move || lines.refresh(now)).await;
                }
            }
        }
    }
}
