//! A cluster under load whose infrastructure fails: failures come in, how soon all goes on after each goes out; at the end the
//! ledgers are joined.

use crate::harness::{
    ProcessCluster,
    clients::{LoadClients, SERVICES},
    outside,
};
use punte::kit::test_stack::TestStackPlan;
use std::time::{Duration, Instant};
use tokio::time::sleep;

pub struct Trial {
    pub cluster: ProcessCluster,
    clients: Option<LoadClients>,
    name: &'static str,
}

impl Trial {
    pub async fn begin(
        name: &'static str,
        processes: &[&[&'static str]],
        change: impl FnOnce(&mut TestStackPlan),
    ) -> Self {
        // A busy machine must not look like a slow agency.
        let patient = |_: &str, text: String| text.replace("timeout_secs = 3\n", "timeout_secs = 20\n");
        let mut cluster = ProcessCluster::started_with(processes, change, patient).await;
        for service in SERVICES {
            let id = cluster.post(service).await;
            cluster.until(&id, &["completed"]).await;
        }
        cluster.warm_up().await;
        let clients = Some(cluster.open_load_clients(2, Duration::from_millis(100)));
        Self { cluster, clients, name }
    }

    /// Done under load; afterwards everything must go on. How soon is printed.
    pub async fn blow(&mut self, what: &str, blow: impl Future<Output = ()>) {
        sleep(Duration::from_millis(400)).await;
        let begun = Instant::now();
        blow.await;
        let (done, mended) = (begun.elapsed(), Instant::now());
        for service in SERVICES {
            let id = self.cluster.post(service).await;
            self.cluster.until(&id, &["completed"]).await;
        }
        self.count(what);
        println!("{}: {what} ({done:.1?}); all goes on {:.1?} later", self.name, mended.elapsed());
    }

    pub fn count(&mut self, what: &str) {
        self.cluster.figures.fault(&format!("{}: {what}", self.name));
    }

    /// Offices are told to come again by now, or get no answer.
    pub async fn is_refused(&self) {
        let refused = || self.cluster.office.gateways.server_errors() + self.cluster.office.gateways.unanswered();
        let (before, begun) = (refused(), Instant::now());
        while refused() < before + 3 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}: nothing was refused", self.name);
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The gateway says that it is not ready, and that it is the journal.
    pub async fn is_not_ready_because_of_the_journal(&self) {
        let (port, begun) = (self.cluster.processes[0].operations_port, Instant::now());
        loop {
            let health = outside::health(port).await;
            if let Some((503, report)) = &health
                && report["parts"]["journal"]["state"] == "down"
            {
                println!("{}: not ready: {}", self.name, report["parts"]["journal"]["why"]);
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{}: still ready: {health:?}", self.name);
            sleep(Duration::from_millis(200)).await;
        }
    }

    pub async fn is_ready(&self) {
        let (port, begun) = (self.cluster.processes[0].operations_port, Instant::now());
        loop {
            let health = outside::health(port).await;
            if matches!(health, Some((200, _))) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{}: not ready: {health:?}", self.name);
            sleep(Duration::from_millis(200)).await;
        }
    }

    pub async fn end(mut self) {
        if let Some(clients) = self.clients.take() {
            clients.close().await;
        }
        self.cluster.audit().await;
    }

    /// Faults of the broker are none of the agencies' business: each got each submission once.
    pub async fn end_at_first_attempts(mut self) {
        if let Some(clients) = self.clients.take() {
            clients.close().await;
        }
        let figures = self.cluster.audit().await;
        assert_eq!(figures.attempts, figures.submissions, "something was sent again: {figures:?}");
        assert_eq!(figures.ends.get("completed"), Some(&figures.submissions), "{figures:?}");
    }
}
