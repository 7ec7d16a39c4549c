//! A house under load while its ground shakes: blows come in, how soon all goes on after each goes out; at the end the
//! ledgers are joined.

use crate::harness::{
    House,
    clients::{Counters, SERVICES},
    outside,
};
use punte::kit::stage::StagePlan;
use std::time::{Duration, Instant};
use tokio::time::sleep;

pub struct Trial {
    pub house: House,
    counters: Option<Counters>,
    name: &'static str,
}

impl Trial {
    pub async fn begin(name: &'static str, processes: &[&[&'static str]], change: impl FnOnce(&mut StagePlan)) -> Self {
        // A busy machine must not look like a slow agency.
        let patient = |_: &str, text: String| text.replace("timeout_secs = 3\n", "timeout_secs = 20\n");
        let mut house = House::furnished(processes, change, patient).await;
        for service in SERVICES {
            let id = house.post(service).await;
            house.until(&id, &["completed"]).await;
        }
        house.warm_up().await;
        let counters = Some(house.open_counters(2, Duration::from_millis(100)));
        Self { house, counters, name }
    }

    /// Done under load; afterwards everything must go on. How soon is printed.
    pub async fn blow(&mut self, what: &str, blow: impl Future<Output = ()>) {
        sleep(Duration::from_millis(400)).await;
        let begun = Instant::now();
        blow.await;
        let (done, mended) = (begun.elapsed(), Instant::now());
        for service in SERVICES {
            let id = self.house.post(service).await;
            self.house.until(&id, &["completed"]).await;
        }
        self.count(what);
        println!("{}: {what} ({done:.1?}); all goes on {:.1?} later", self.name, mended.elapsed());
    }

    pub fn count(&mut self, what: &str) {
        self.house.figures.fault(&format!("{}: {what}", self.name));
    }

    /// Offices are told to come again by now, or get no answer.
    pub async fn is_refused(&self) {
        let refused = || self.house.office.doors.server_errors() + self.house.office.doors.unanswered();
        let (before, begun) = (refused(), Instant::now());
        while refused() < before + 3 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}: nothing was refused", self.name);
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The gateway says that it is not ready, and that it is the journal.
    pub async fn is_not_ready_because_of_the_journal(&self) {
        let (port, begun) = (self.house.processes[0].operations_port, Instant::now());
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
        let (port, begun) = (self.house.processes[0].operations_port, Instant::now());
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
        if let Some(counters) = self.counters.take() {
            counters.close().await;
        }
        self.house.audit().await;
    }

    /// Faults of the broker are none of the agencies' business: each got each submission once.
    pub async fn end_at_first_attempts(mut self) {
        if let Some(counters) = self.counters.take() {
            counters.close().await;
        }
        let figures = self.house.audit().await;
        assert_eq!(figures.attempts, figures.submissions, "something was sent again: {figures:?}");
        assert_eq!(figures.ends.get("completed"), Some(&figures.submissions), "{figures:?}");
    }
}
