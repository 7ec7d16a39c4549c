//! Whether a process can do its work now: components that tell how they are come in, one verdict with its reasons goes out.

use super::{
    QueueMonitor,
    component::{Component, ComponentHealth},
    journal_probe::JournalProbe,
};
use crate::{
    broker::{Broker, BrokerHealth},
    journal::Journal,
    telemetry::Metrics,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// All components of a process. Roles add theirs when they start.
pub struct Readiness {
    components: RwLock<Vec<Named>>,
    stopping: CancellationToken,
    metrics: Metrics,
    patience: Duration,
}

#[derive(Clone)]
struct Named {
    name: String,
    component: Arc<Component>,
    /// How it is if it does not answer in time.
    silent: ComponentHealth,
}

const SILENT: &str = "it did not answer in time";
const PATIENCE: Duration = Duration::from_secs(2);

impl Readiness {
    /// `stopping`: cancelled when the process begins to stop, so that load balancers turn away at once.
    pub fn new(stopping: CancellationToken, metrics: Metrics) -> Self {
        Self { components: RwLock::default(), stopping, metrics, patience: PATIENCE }
    }

    /// A component whose silence leaves the process ready.
    pub fn add(&self, name: impl Into<String>, component: Component) {
        self.push(name.into(), component, ComponentHealth::Degraded(SILENT.into()));
    }

    fn push(&self, name: String, component: Component, silent: ComponentHealth) {
        let component = Arc::new(component);
        self.components.write().unwrap_or_else(PoisonError::into_inner).push(Named { name, component, silent });
    }

    /// Without the journal nothing can be accepted: one that is silent makes the process unready.
    pub fn add_journal(&self, journal: Arc<dyn Journal>) {
        // A little sooner than we give up, so that it can say why.
        let probe = JournalProbe::new(journal, self.patience.mul_f64(0.9));
        self.push("journal".into(), Box::new(move || probe.ask()), ComponentHealth::Down(SILENT.into()));
    }

    /// Without the broker submissions are still accepted: they wait in the journal.
    pub fn add_broker(&self, broker: Arc<dyn Broker>, queues: Arc<QueueMonitor>) {
        let component: Component = Box::new(move || {
            let (broker, queues) = (broker.clone(), queues.clone());
            Box::pin(async move {
                match broker.health() {
                    BrokerHealth::Connected => {
                        queues.silence().await.map_or(ComponentHealth::Up, ComponentHealth::Degraded)
                    }
                    BrokerHealth::Degraded(why) => ComponentHealth::Degraded(why),
                    BrokerHealth::Blocked(why) => ComponentHealth::Degraded(format!("it takes no messages: {why}")),
                    BrokerHealth::Disconnected(why) => ComponentHealth::Degraded(why),
                }
            })
        });
        self.add("broker", component);
    }

    /// Whether the process is ready, and why.
    pub async fn report(&self) -> (bool, Value) {
        let components = self.components.read().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = components.into_iter().map(|Named { name, component, silent }| async move {
            (name, tokio::time::timeout(self.patience, component()).await.unwrap_or(silent))
        });
        let states = join_all(asked).await;
        let is_stopping = self.stopping.is_cancelled();
        let is_ready = !is_stopping && !states.iter().any(|(_, state)| matches!(state, ComponentHealth::Down(_)));
        for (name, state) in &states {
            self.metrics.part(name, number(state));
        }
        let components: serde_json::Map<_, _> =
            states.into_iter().map(|(name, state)| (name, written(state))).collect();
        (is_ready, json!({"ready": is_ready, "stopping": is_stopping, "parts": components}))
    }
}

fn number(state: &ComponentHealth) -> i64 {
    match state {
        ComponentHealth::Up => 0,
        ComponentHealth::Degraded(_) => 1,
        ComponentHealth::Down(_) => 2,
    }
}

fn written(state: ComponentHealth) -> Value {
    match state {
        ComponentHealth::Up => json!({"state": "up"}),
        ComponentHealth::Degraded(why) => json!({"state": "degraded", "why": why}),
        ComponentHealth::Down(why) => json!({"state": "down", "why": why}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn always(state: ComponentHealth) -> Component {
        Box::new(move || {
            let state = state.clone();
            Box::pin(async move { state })
        })
    }

    #[tokio::test]
    async fn a_journal_that_is_down_or_silent_makes_it_unready_and_what_is_degraded_or_silent_elsewhere_does_not() {
        let (patience, metrics) = (Duration::from_millis(20), Metrics::new());
        let readiness = Readiness { patience, ..Readiness::new(CancellationToken::new(), metrics.clone()) };
        readiness.add("a", always(ComponentHealth::Up));
        readiness.add("b", always(ComponentHealth::Degraded("slow".into())));
        let (is_ready, report) = readiness.report().await;
        assert!(is_ready);
        assert_eq!(report["parts"]["b"], json!({"state": "degraded", "why": "slow"}));
        readiness.add("c", Box::new(|| Box::pin(std::future::pending())));
        let (is_ready, report) = readiness.report().await;
        assert!(is_ready);
        assert_eq!(report["parts"]["c"], json!({"state": "degraded", "why": SILENT}));
        let silent = ComponentHealth::Down(SILENT.into());
        readiness.push("d".into(), Box::new(|| Box::pin(std::future::pending())), silent);
        let (is_ready, report) = readiness.report().await;
        assert!(!is_ready);
        assert_eq!(report["parts"]["d"]["state"], "down");
        for line in [r#"punte_part_state{part="a"} 0"#, r#"punte_part_state{part="d"} 2"#] {
            assert!(metrics.to_text().lines().any(|have| have == line), "{line}");
        }
    }

    #[tokio::test]
    async fn a_process_that_is_being_stopped_is_not_ready() {
        let stopping = CancellationToken::new();
        let readiness = Readiness::new(stopping.clone(), Metrics::new());
        assert!(readiness.report().await.0);
        stopping.cancel();
        assert!(!readiness.report().await.0);
    }
}
