//! How many messages and consumers every agency's queues have: the broker is asked with a time limit, at most once a second;
//! its answer, or its last one, goes out.

use super::ComponentHealth;
use crate::{
    broker::{Broker, BrokerError, QueueDepth},
    domain::AgencyName,
    telemetry::Metrics,
};
use futures_util::future::join_all;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

pub struct QueueMonitor {
    broker: Arc<dyn Broker>,
    agencies: Vec<AgencyName>,
    metrics: Metrics,
    /// Replaced by each look at the broker.
    seen: Mutex<BTreeMap<AgencyName, QueueSnapshot>>,
    /// When the broker was asked last; one asks, and the others wait for what it hears.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

/// One agency's queues when the broker last spoke of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct QueueSnapshot {
    depth: QueueDepth,
    dead_letters: u64,
    /// Why it does not speak of them now.
    trouble: Option<BrokerError>,
}

/// What was heard so recently is as good as new.
const FRESH: Duration = Duration::from_secs(1);
/// A broker that hangs must not keep those waiting who ask this process.
const TIMEOUT: Duration = Duration::from_millis(800);

impl QueueMonitor {
    pub fn new(broker: Arc<dyn Broker>, agencies: Vec<AgencyName>, metrics: Metrics) -> Self {
        Self { broker, agencies, metrics, seen: Mutex::default(), asked: tokio::sync::Mutex::default() }
    }

    /// Why the broker counts as silent; `None` if it answers.
    pub async fn silence(&self) -> Option<String> {
        self.look().await;
        let is_silent = |snapshot: &QueueSnapshot| snapshot.trouble == Some(silence());
        self.seen().values().any(is_silent).then(|| format!("{}; messages wait in the journal", silence().reason()))
    }

    /// Whether the broker sees somebody who takes this agency's messages.
    pub async fn consumers(&self, agency: &AgencyName) -> ComponentHealth {
        let QueueSnapshot { depth, trouble, .. } = self.of(agency).await;
        match trouble {
            Some(error) if depth == QueueDepth::default() => ComponentHealth::Degraded(error.reason()),
            Some(error) => ComponentHealth::Degraded(format!(
                "{}; there were {} messages and {} consumers when it last spoke of them",
                error.reason(),
                depth.ready,
                depth.consumers
            )),
            None if depth.consumers > 0 => ComponentHealth::Up,
            None => ComponentHealth::Degraded(format!("nobody takes its {} messages now", depth.ready)),
        }
    }

    pub async fn dead_letters(&self, agency: &AgencyName) -> ComponentHealth {
        match self.of(agency).await.dead_letters {
            0 => ComponentHealth::Up,
            count => ComponentHealth::Degraded(format!(
                "{count} messages were rejected or came back too often; `punte queues` shows them, and the journal has \
                 published their submissions again"
            )),
        }
    }

    async fn of(&self, agency: &AgencyName) -> QueueSnapshot {
        self.look().await;
        self.seen().get(agency).cloned().unwrap_or_default()
    }

    async fn look(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        join_all(self.agencies.iter().map(|agency| self.look_at(agency))).await;
        *asked = Some(Instant::now());
    }

    async fn look_at(&self, agency: &AgencyName) {
        let looking = async {
            let depth = self.broker.depth(agency).await?;
            // Without a queue for them there are none.
            Ok((depth, self.broker.dead_letter_count(agency).await.unwrap_or_default()))
        };
        let heard = timeout(TIMEOUT, looking).await.unwrap_or(Err(silence()));
        if let Ok((depth, dead_letters)) = &heard {
            self.metrics.queue_depth(agency, depth.ready);
            self.metrics.queue_consumers(agency, depth.consumers);
            self.metrics.dead_letters(agency, *dead_letters);
        }
        let mut seen = self.seen();
        let snapshot = seen.entry(agency.clone()).or_default();
        match heard {
            Ok((depth, dead_letters)) => *snapshot = QueueSnapshot { depth, dead_letters, trouble: None },
            Err(error) => snapshot.trouble = Some(error),
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<AgencyName, QueueSnapshot>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn silence() -> BrokerError {
    BrokerError::Unavailable("the broker does not answer".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        broker::{WorkItem, embedded::EmbeddedBroker},
        domain::{Priority, SubmissionId, TraceParent},
    };

    #[tokio::test]
    async fn consumers_that_are_late_are_told_with_what_waits_for_them() {
        let (broker, metrics) = (Arc::new(EmbeddedBroker::default()), Metrics::new());
        let agency: AgencyName = "civil-registry".parse().unwrap();
        broker.declare(std::slice::from_ref(&agency)).await.unwrap();
        // Each is the first look of its own, or it would hear what was said a moment ago.
        let consumers = async || {
            let monitor = QueueMonitor::new(broker.clone(), vec![agency.clone()], metrics.clone());
            monitor.consumers(&agency).await
        };
        let late = |count: u64| ComponentHealth::Degraded(format!("nobody takes its {count} messages now"));
        assert_eq!(consumers().await, late(0));
        let item = WorkItem {
            submission: SubmissionId::new(),
            agency: agency.clone(),
            office: None,
            priority: Priority::Ordinary,
            trace: TraceParent::fresh(),
        };
        broker.publish(&[item.clone(), item]).await.into_iter().for_each(|published| published.unwrap());
        assert_eq!(consumers().await, late(2));
        let said = |line: &str| metrics.to_text().lines().any(|have| have == line);
        assert!(said(r#"punte_queue_consumers{agency="civil-registry"} 0"#), "{}", metrics.to_text());
        let deliveries = broker.consume(&agency, 1).await.unwrap();
        let until_up = async {
            while consumers().await != ComponentHealth::Up {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(10), until_up).await.unwrap();
        assert!(!said(r#"punte_queue_consumers{agency="civil-registry"} 0"#), "{}", metrics.to_text());
        drop(deliveries);
    }
}
