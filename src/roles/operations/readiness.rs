//! Whether a process can do its work now: parts that tell how they are come in, one verdict with its reasons goes out.

use super::journal_probe::JournalProbe;
use crate::{
    broker::{Broker, BrokerHealth},
    journal::Journal,
};
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How one part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartState {
    Up,
    /// The process works, but not as it should. It stays ready.
    Degraded(String),
    /// The process cannot do its work.
    Down(String),
}

/// Asks a part how it is.
pub type Part = Box<dyn Fn() -> BoxFuture<'static, PartState> + Send + Sync>;

/// All parts of a process. Roles add theirs when they start.
pub struct Readiness {
    parts: RwLock<Vec<(String, Arc<Part>)>>,
    stopping: CancellationToken,
    patience: Duration,
}

/// A part that does not answer is down.
const PATIENCE: Duration = Duration::from_secs(2);

impl Readiness {
    /// `stopping`: cancelled when the process begins to stop, so that load balancers turn away at once.
    pub fn new(stopping: CancellationToken) -> Self {
        Self { parts: RwLock::default(), stopping, patience: PATIENCE }
    }

    pub fn add(&self, name: impl Into<String>, part: Part) {
        self.parts.write().unwrap_or_else(PoisonError::into_inner).push((name.into(), Arc::new(part)));
    }

    /// Without the journal nothing can be accepted.
    pub fn add_journal(&self, journal: Arc<dyn Journal>) {
        // A little sooner than we give up, so that it can say why.
        let probe = JournalProbe::new(journal, self.patience.mul_f64(0.9));
        self.add("journal", Box::new(move || probe.ask()));
    }

    /// Without the broker submissions are still accepted: they wait in the journal.
    pub fn add_broker(&self, broker: Arc<dyn Broker>) {
        let part: Part = Box::new(move || {
            let health = broker.health();
            Box::pin(async move {
                match health {
                    BrokerHealth::Connected => PartState::Up,
                    BrokerHealth::Blocked(why) => PartState::Degraded(format!("it takes no messages: {why}")),
                    BrokerHealth::Disconnected(why) => PartState::Degraded(why),
                }
            })
        });
        self.add("broker", part);
    }

    /// Whether the process is ready, and why.
    pub async fn report(&self) -> (bool, Value) {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = parts.into_iter().map(|(name, part)| async move {
            let late = PartState::Down("it did not answer in time".into());
            (name, tokio::time::timeout(self.patience, part()).await.unwrap_or(late))
        });
        let states = join_all(asked).await;
        let is_stopping = self.stopping.is_cancelled();
        let is_ready = !is_stopping && !states.iter().any(|(_, state)| matches!(state, PartState::Down(_)));
        let parts: serde_json::Map<_, _> = states.into_iter().map(|(name, state)| (name, written(state))).collect();
        (is_ready, json!({"ready": is_ready, "stopping": is_stopping, "parts": parts}))
    }
}

fn written(state: PartState) -> Value {
    match state {
        PartState::Up => json!({"state": "up"}),
        PartState::Degraded(why) => json!({"state": "degraded", "why": why}),
        PartState::Down(why) => json!({"state": "down", "why": why}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn always(state: PartState) -> Part {
        Box::new(move || {
            let state = state.clone();
            Box::pin(async move { state })
        })
    }

    #[tokio::test]
    async fn a_part_that_is_down_or_silent_makes_it_unready_and_a_degraded_one_does_not() {
        let patience = Duration::from_millis(20);
        let readiness = Readiness { patience, ..Readiness::new(CancellationToken::new()) };
        readiness.add("a", always(PartState::Up));
        readiness.add("b", always(PartState::Degraded("slow".into())));
        let (is_ready, report) = readiness.report().await;
        assert!(is_ready);
        assert_eq!(report["parts"]["b"], json!({"state": "degraded", "why": "slow"}));
        readiness.add("c", Box::new(|| Box::pin(std::future::pending())));
        let (is_ready, report) = readiness.report().await;
        assert!(!is_ready);
        assert_eq!(report["parts"]["c"]["state"], "down");
    }

    #[tokio::test]
    async fn a_process_that_is_being_stopped_is_not_ready() {
        let stopping = CancellationToken::new();
        let readiness = Readiness::new(stopping.clone());
        assert!(readiness.report().await.0);
        stopping.cancel();
        assert!(!readiness.report().await.0);
    }
}
