//! The worker: deliveries of the broker come in, each goes the whole way; one consumer an agency, so none delays another.

mod breaker;
mod fair_queue;
mod slow_start;
mod rate;
mod unsent_deliveries;
mod standstill;
mod consumer_state;
mod delivery_slot;
mod agency_consumer;

use agency_consumer::{AgencyConsumer, AgencyConsumerParts};
use breaker::{Breaker, Circuit};
use fair_queue::FairQueue;

use super::supervise::restart_on_panic;
use crate::{
    adapter::Adapters,
    broker::Broker,
    delivery::{AgencyConnections, Deliverer},
    domain::Clock,
    telemetry::Metrics,
};
use std::{sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// One in each process with this role. Its task holds it until all consumers have ended.
pub struct Worker {
    /// The queues; each agency's consumer holds it as well.
    pub broker: Arc<dyn Broker>,
    /// The agencies' folders: one consumer runs for each. Loaded at the start, and never changed.
    pub adapters: Arc<Adapters>,
    /// What all consumers deliver with. It is dropped with the last of them.
    pub deliverer: Arc<Deliverer>,
    /// The same that the deliverer sends over. The worker has their key files looked at, and ends their health checks.
    pub connections: Arc<AgencyConnections>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

/// How often key files are looked at.
const REFRESH_EVERY: Duration = Duration::from_secs(5);

impl Worker {
    /// Runs until stopped, and then until what is under way has ended.
    pub async fn run(self, stop: CancellationToken) {
        let consumers = TaskTracker::new();
        for adapter in self.adapters.iter() {
            let consumer = AgencyConsumer::new(AgencyConsumerParts {
                adapter: adapter.clone(),
                broker: self.broker.clone(),
                deliverer: self.deliverer.clone(),
                clock: self.clock.clone(),
                metrics: self.metrics.clone(),
            });
            let (agency, stop) = (adapter.agency.clone(), stop.clone());
            consumers.spawn(async move {
                restart_on_panic(format!("consumer of {agency}"), || consumer.clone().run(stop.clone())).await
            });
        }
        consumers.close();
        restart_on_panic("key files", || self.refresh(&stop)).await;
        consumers.wait().await;
        for connection in self.connections.iter() {
            connection.stop_health_checks().await;
        }
    }

    async fn refresh(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(REFRESH_EVERY) => {
                    let (connections, now) = (self.connections.clone(), self.clock.now());
                    // What was refused is logged by the room that refuses it.
                    let _ = tokio::task::spawn_blocking(move || connections.refresh(now)).await;
                }
            }
        }
    }
}
