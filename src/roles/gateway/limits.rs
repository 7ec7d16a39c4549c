//! How much may be asked for at once: requests come in, permits go out that return when they are dropped.

use crate::{
    domain::Code,
    http_server::{MemoryLimit, MemoryLimits, Problem},
    settings::GatewaySettings,
};
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use std::{num::NonZeroU32, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of the whole gateway, held by its state.
pub struct Limits {
    /// One permit for each [`UnderWay`].
    requests: Arc<Semaphore>,
    /// One permit for each [`Waiting`].
    waits: Arc<Semaphore>,
    max_waits: usize,
    /// For bodies and what is made of them.
    memory: MemoryLimit,
}

/// What all limits are made from.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    pub max_connections: usize,
    pub max_requests: usize,
    pub max_waits: usize,
    pub max_memory_bytes: usize,
    pub max_body_bytes: usize,
}

/// Of one office, so that it cannot take what all share; held by its entry in the office directory.
pub struct OfficeLimits {
    rate: DefaultDirectRateLimiter,
    /// One permit for each connection on which the office was recognised.
    connections: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    memory: MemoryLimit,
}

/// Held by a connection until it ends.
pub struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
}

/// A request under way, from its admission until its handler has ended or only waits.
pub struct UnderWay {
    _global: OwnedSemaphorePermit,
    _office: OwnedSemaphorePermit,
}

/// So many requests may come at once, however few a minute: a person's page asks for several.
const MIN_BURST: u32 = 10;

/// How often a wait looks into the journal, as long as there are few.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Waits that may look within that time.
const LOOKS_AT_ONCE: f64 = 500.0;

/// A request that waits for an answer, or an open stream of events.
pub struct Waiting {
    _global: OwnedSemaphorePermit,
    _office: OwnedSemaphorePermit,
}

impl Capacity {
    pub fn of(settings: &GatewaySettings) -> Self {
        Self {
            max_connections: settings.max_connections,
            max_requests: settings.max_requests,
            max_waits: settings.max_waits,
            max_memory_bytes: settings.max_memory_bytes,
            max_body_bytes: settings.max_body_bytes,
        }
    }
}

impl Limits {
    pub fn new(whole: Capacity) -> Self {
        let (requests, waits) = (permits(whole.max_requests), permits(whole.max_waits));
        let max_waits = waits.available_permits();
        Self { requests, waits, max_waits, memory: MemoryLimit::new(whole.max_memory_bytes) }
    }

    pub fn request(&self, office: &OfficeLimits) -> Result<UnderWay, Problem> {
        let too_many = || Problem::from(Code::RateLimited).retry_after(Duration::from_secs(1));
        let office = office.requests.clone().try_acquire_owned().map_err(|_| too_many())?;
        let global = self.requests.clone().try_acquire_owned().map_err(|_| overloaded())?;
        Ok(UnderWay { _global: global, _office: office })
    }

    pub fn memory<'a>(&'a self, office: &'a OfficeLimits) -> MemoryLimits<'a> {
        MemoryLimits { all: &self.memory, client: &office.memory }
    }

    /// How long a wait lets pass between two looks into the journal. Announcements may be lost, so each one looks; the more
    /// of them there are, the less often, so that the journal has time for other work.
    pub fn look_every(&self) -> Duration {
        let open = self.max_waits.saturating_sub(self.waits.available_permits());
        LOOK_EVERY.max(LOOK_EVERY.mul_f64(open as f64 / LOOKS_AT_ONCE))
    }

    pub fn wait(&self, office: &OfficeLimits) -> Option<Waiting> {
        let office = office.waits.clone().try_acquire_owned().ok()?;
        let global = self.waits.clone().try_acquire_owned().ok()?;
        Some(Waiting { _global: global, _office: office })
    }
}

impl OfficeLimits {
    /// One office gets at most half of the whole gateway's, and a quarter of the waits, because they last. Its memory is
    /// enough for one whole body, however small the gateway's.
    pub fn new(requests_per_minute: u32, whole: Capacity) -> Self {
        let memory_bytes = whole.max_memory_bytes.div_ceil(2).max(whole.max_body_bytes).min(whole.max_memory_bytes);
        Self {
            rate: RateLimiter::direct(quota(requests_per_minute)),
            connections: permits(whole.max_connections.div_ceil(2)),
            requests: permits(whole.max_requests.div_ceil(2)),
            waits: permits(whole.max_waits.div_ceil(4)),
            memory: MemoryLimit::new(memory_bytes),
        }
    }

    /// `None`: this office has as many connections as it may.
    pub fn connection(&self) -> Option<ConnectionPermit> {
        let permit = self.connections.clone().try_acquire_owned().ok()?;
        Some(ConnectionPermit { _permit: permit })
    }

    pub fn take_request(&self) -> Result<(), Problem> {
        self.rate.check().map_err(|denied| {
            let wait = denied.wait_time_from(DefaultClock::default().now());
            Problem::from(Code::RateLimited).retry_after(wait)
        })
    }
}

fn permits(count: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)))
}

/// Of a whole minute's requests at once, others would feel the backlog: a tenth of them may come together.
fn quota(requests_per_minute: u32) -> Quota {
    let burst = (requests_per_minute / 10).max(MIN_BURST).min(requests_per_minute);
    let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    Quota::per_minute(at_least_one(requests_per_minute)).allow_burst(at_least_one(burst))
}

fn overloaded() -> Problem {
    Problem::from(Code::Overloaded).retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT_BYTES: usize = 1024;

    const WHOLE: Capacity = Capacity {
        max_connections: 4,
        max_requests: 4,
        max_waits: 8,
        max_memory_bytes: 10 * UNIT_BYTES,
        max_body_bytes: 6 * UNIT_BYTES,
    };

    fn office(requests_per_minute: u32) -> OfficeLimits {
        OfficeLimits::new(requests_per_minute, WHOLE)
    }

    #[test]
    fn one_office_cannot_have_all_memory_nor_all_connections() {
        let limits = Limits::new(WHOLE);
        let (one, other) = (office(1), office(1));
        let held = limits.memory(&one).take(6 * UNIT_BYTES).unwrap();
        assert!(limits.memory(&one).take(UNIT_BYTES).is_err());
        assert!(limits.memory(&other).take(4 * UNIT_BYTES).is_ok());
        drop(held);
        let connections = [one.connection(), one.connection()];
        assert!(connections.iter().all(Option::is_some));
        assert!(one.connection().is_none() && other.connection().is_some());
    }

    #[test]
    fn one_office_has_a_quarter_of_the_waits_and_all_together_have_no_more_than_there_are() {
        let limits = Limits::new(WHOLE);
        let offices: [_; 5] = std::array::from_fn(|_| office(1));
        let held: Vec<_> = offices[..4].iter().flat_map(|office| [(); 3].map(|()| limits.wait(office))).collect();
        assert_eq!(held.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false].repeat(4));
        assert!(limits.wait(&offices[4]).is_none(), "all waits are open");
        drop(held);
        assert!(limits.wait(&offices[4]).is_some() && limits.wait(&offices[0]).is_some());
    }

    #[test]
    fn few_waits_look_every_second_and_thousands_no_more_often_together_than_500_times() {
        let whole = Capacity { max_waits: 16_000, ..WHOLE };
        let (limits, office) = (Limits::new(whole), OfficeLimits::new(1, whole));
        assert_eq!(limits.look_every(), Duration::from_secs(1));
        let held: Vec<_> = (0..400).map(|_| limits.wait(&office)).collect();
        assert_eq!(limits.look_every(), Duration::from_secs(1));
        let more: Vec<_> = (0..3600).map(|_| limits.wait(&office)).collect();
        assert_eq!(limits.look_every(), Duration::from_secs(8));
        drop((held, more));
        assert_eq!(limits.look_every(), Duration::from_secs(1));
    }

    #[test]
    fn one_office_cannot_have_all_requests_under_way() {
        let limits = Limits::new(WHOLE);
        let (one, other) = (office(1), office(1));
        let held = [limits.request(&one), limits.request(&one)];
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(limits.request(&one).err().map(|it| it.code), Some(Code::RateLimited));
        assert!(limits.request(&other).is_ok());
        drop(held);
        assert!(limits.request(&one).is_ok());
    }

    #[test]
    fn a_tenth_of_a_minutes_requests_may_come_at_once_and_the_rate_is_the_whole() {
        for (requests_per_minute, at_once, pause) in [(600, 60, 100), (60, 10, 1000), (4, 4, 15_000)] {
            let limits = office(requests_per_minute);
            let begun = std::time::Instant::now();
            let taken = (0..requests_per_minute).take_while(|_| limits.take_request().is_ok()).count();
            let come_back = begun.elapsed().as_millis() as usize / pause;
            assert!((at_once..=at_once + come_back).contains(&taken), "{taken} of {requests_per_minute} at once");
            let wait = limits.take_request().unwrap_err().retry_after.unwrap();
            assert!(wait <= Duration::from_millis(pause as u64), "{wait:?}");
        }
    }

    #[test]
    fn an_office_that_asks_too_often_is_told_when_to_come_back() {
        let limits = office(2);
        assert!(limits.take_request().is_ok() && limits.take_request().is_ok());
        let problem = limits.take_request().unwrap_err();
        assert_eq!(problem.code, Code::RateLimited);
        let wait = problem.retry_after.unwrap();
        assert!(wait > Duration::from_secs(20) && wait <= Duration::from_secs(30), "{wait:?}");
    }
}
