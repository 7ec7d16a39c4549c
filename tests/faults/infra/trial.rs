//! A house under load while its ground shakes: blows come in, how soon all goes on after each goes out; at the end the
//! agencies' ledgers are held against what the offices were told.

use super::servers::channel;
use crate::house::{Counters, House, SERVICES};
use lapin::options::QueueDeclareOptions;
use punte::{
    broker::rabbitmq::names::Names,
    domain::{AgencyName, Priority},
    roles::stage::StagePlan,
};
use std::time::{Duration, Instant};
use tokio::time::sleep;

pub struct Trial {
    pub house: House,
    counters: Option<Counters>,
    name: &'static str,
    blows: usize,
    begun: Instant,
}

impl Trial {
    pub async fn begin(name: &'static str, processes: &[&[&'static str]], change: impl FnOnce(&mut StagePlan)) -> Self {
        let house = House::build(processes, change).await;
        for service in SERVICES {
            let id = house.post(service).await;
            house.until(&id, &["completed"]).await;
        }
        let counters = Some(house.open_counters(2, Duration::from_millis(40)));
        Self { house, counters, name, blows: 0, begun: Instant::now() }
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
        self.blows += 1;
        println!("{}: {what} ({done:.1?}); all goes on {:.1?} later", self.name, mended.elapsed());
    }

    /// Every submission has ended well, at the first attempt unless faults reach further than the broker.
    pub async fn end(mut self, is_first_attempt_enough: bool) {
        if let Some(counters) = self.counters.take() {
            counters.close().await;
        }
        let audit = self.house.audit().await;
        println!("{}: {} blows in {:.1?}, {audit:?}", self.name, self.blows, self.begun.elapsed());
        if is_first_attempt_enough {
            assert_eq!((audit.attempts, audit.uncertain), (audit.submissions as u64, 0), "something was sent again");
        }
    }
}

/// Every agency's queues come to be empty, and the dead letters are those that are expected.
pub async fn queues_are_empty(url: &str, prefix: &str, dead: &[(&str, u32)]) {
    let names = Names::new(prefix).unwrap();
    let begun = Instant::now();
    for agency in ["civil-registry", "legal-events", "once-registry"] {
        let expected = dead.iter().find(|(of, _)| *of == agency).map_or(0, |(_, count)| *count);
        let agency: AgencyName = agency.parse().unwrap();
        let work = Priority::ALL.map(|priority| (names.work_queue(&agency, priority), 0));
        for (queue, expected) in work.into_iter().chain([(names.dead_queue(&agency), expected)]) {
            loop {
                let (_connection, channel) = channel(url).await;
                let passive = QueueDeclareOptions { passive: true, ..Default::default() };
                let found = channel.queue_declare(queue.clone(), passive, Default::default()).await.unwrap();
                if found.message_count() == expected {
                    break;
                }
                assert!(begun.elapsed() < Duration::from_secs(30), "{queue}: {} messages", found.message_count());
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}
