//! How much may be asked for at once: requests come in, permits go out that return when they are dropped.

use crate::{
    domain::Code,
    http_server::{MemoryLimit, MemoryLimits, Problem},
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
    /// For bodies and what is made of them.
    memory: MemoryLimit,
}

/// What all limits are made from.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    pub max_connections: usize,
    pub max_requests: usize,
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

/// A request that waits for an answer, or an open stream of events.
pub struct Waiting {
    _global: OwnedSemaphorePermit,
    _office: OwnedSemaphorePermit,
}

impl Limits {
    pub fn new(max_requests: usize, max_memory_bytes: usize) -> Self {
        let of = |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        Self { requests: of(max_requests), waits: of(max_requests), memory: MemoryLimit::new(max_memory_bytes) }
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

    pub fn wait(&self, office: &OfficeLimits) -> Option<Waiting> {
        let office = office.waits.clone().try_acquire_owned().ok()?;
        let global = self.waits.clone().try_acquire_owned().ok()?;
        Some(Waiting { _global: global, _office: office })
    }
}

impl OfficeLimits {
    /// One office gets at most half of the whole gateway's, and may wait with a quarter of the requests. Its memory is
    /// enough for one whole body, however small the gateway's.
    pub fn new(requests_per_minute: u32, whole: Capacity) -> Self {
        let of = |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        let memory_bytes = whole.max_memory_bytes.div_ceil(2).max(whole.max_body_bytes).min(whole.max_memory_bytes);
        Self {
            rate: RateLimiter::direct(quota(requests_per_minute)),
            connections: of(whole.max_connections.div_ceil(2)),
            requests: of(whole.max_requests.div_ceil(2)),
            waits: of(whole.max_requests.div_ceil(4)),
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

    fn office(requests_per_minute: u32, max_requests: usize) -> OfficeLimits {
        let whole = Capacity {
            max_connections: 4,
            max_requests,
            max_memory_bytes: 10 * UNIT_BYTES,
            max_body_bytes: 6 * UNIT_BYTES,
        };
        OfficeLimits::new(requests_per_minute, whole)
    }

    #[test]
    fn one_office_cannot_have_all_memory_nor_all_connections() {
        let limits = Limits::new(1, 10 * UNIT_BYTES);
        let (one, other) = (office(1, 1), office(1, 1));
        let held = limits.memory(&one).take(6 * UNIT_BYTES).unwrap();
        assert!(limits.memory(&one).take(UNIT_BYTES).is_err());
        assert!(limits.memory(&other).take(4 * UNIT_BYTES).is_ok());
        drop(held);
        let connections = [one.connection(), one.connection()];
        assert!(connections.iter().all(Option::is_some));
        assert!(one.connection().is_none() && other.connection().is_some());
    }

    #[test]
    fn one_office_cannot_take_all_waits() {
        let limits = Limits::new(3, 1);
        let (one, other) = (office(1, 8), office(1, 8));
        let held = [limits.wait(&one), limits.wait(&one)];
        assert!(held.iter().all(Option::is_some));
        assert!(limits.wait(&one).is_none());
        assert!(limits.wait(&other).is_some());
    }

    #[test]
    fn one_office_cannot_have_all_requests_under_way() {
        let limits = Limits::new(4, 1);
        let (one, other) = (office(1, 4), office(1, 4));
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
            let limits = office(requests_per_minute, 1);
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
        let limits = office(2, 1);
        assert!(limits.take_request().is_ok() && limits.take_request().is_ok());
        let problem = limits.take_request().unwrap_err();
        assert_eq!(problem.code, Code::RateLimited);
        let wait = problem.retry_after.unwrap();
        assert!(wait > Duration::from_secs(20) && wait <= Duration::from_secs(30), "{wait:?}");
    }
}
