//! The worker: deliveries of the broker come in, each goes the whole road; one lane an agency, so none delays another.

mod breaker;
mod lane;

pub use breaker::{Breaker, Circuit};
pub use lane::Lane;

use crate::{
    adapter::Adapters,
    broker::Broker,
    domain::Clock,
    road::{Lines, Road},
    telemetry::Metrics,
};
use std::{sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub struct Worker {
    pub broker: Arc<dyn Broker>,
    pub adapters: Arc<Adapters>,
    pub road: Arc<Road>,
    pub lines: Arc<Lines>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

/// How often key files are looked at.
const REFRESH_EVERY: Duration = Duration::from_secs(5);

impl Worker {
    /// Runs until stopped, and then until what is under way has ended.
    pub async fn run(self, stop: CancellationToken) {
        let lanes = TaskTracker::new();
        for adapter in self.adapters.iter() {
            let lane = Lane::new(
                adapter.clone(),
                self.broker.clone(),
                self.road.clone(),
                self.clock.clone(),
                self.metrics.clone(),
            );
            lanes.spawn(lane.run(stop.clone()));
        }
        lanes.close();
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(REFRESH_EVERY) => self.lines.refresh(self.clock.now()),
            }
        }
        lanes.wait().await;
    }
}
