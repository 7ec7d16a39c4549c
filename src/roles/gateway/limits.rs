//! How much may be asked for at once: requests come in, permits go out that return when they are dropped.

use super::Problem;
use crate::domain::Code;
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use std::{num::NonZeroU32, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of the whole gateway.
pub struct Limits {
    requests: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    /// In units of [`UNIT_BYTES`].
    memory: Arc<Semaphore>,
}

/// Of one office, so that it cannot take what all share.
pub struct OfficeLimits {
    rate: DefaultDirectRateLimiter,
    requests: Arc<Semaphore>,
    waits: Arc<Semaphore>,
}

/// A request under way.
pub struct UnderWay {
    _global: OwnedSemaphorePermit,
    _office: OwnedSemaphorePermit,
}

const UNIT_BYTES: usize = 1024;

/// A request that waits for an answer, or an open stream of events.
pub struct Waiting {
    _global: OwnedSemaphorePermit,
    _office: OwnedSemaphorePermit,
}

impl Limits {
    pub fn new(max_requests: usize, max_memory_bytes: usize) -> Self {
        let of = |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        Self { requests: of(max_requests), waits: of(max_requests), memory: of(max_memory_bytes.div_ceil(UNIT_BYTES)) }
    }

    pub fn request(&self, office: &OfficeLimits) -> Result<UnderWay, Problem> {
        let too_many = || Problem::from(Code::RateLimited).retry_after(Duration::from_secs(1));
        let office = office.requests.clone().try_acquire_owned().map_err(|_| too_many())?;
        let global = self.requests.clone().try_acquire_owned().map_err(|_| overloaded())?;
        Ok(UnderWay { _global: global, _office: office })
    }

    pub fn memory(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        self.memory.clone().try_acquire_many_owned(units).map_err(|_| overloaded())
    }

    pub fn wait(&self, office: &OfficeLimits) -> Option<Waiting> {
        let office = office.waits.clone().try_acquire_owned().ok()?;
        let global = self.waits.clone().try_acquire_owned().ok()?;
        Some(Waiting { _global: global, _office: office })
    }
}

impl OfficeLimits {
    /// `max_requests` is the whole gateway's: one office gets at most half of it, and may wait with a quarter.
    pub fn new(requests_per_minute: u32, max_requests: usize) -> Self {
        let share =
            |part: usize| Arc::new(Semaphore::new(max_requests.div_ceil(part).clamp(1, Semaphore::MAX_PERMITS)));
        let quota = Quota::per_minute(NonZeroU32::new(requests_per_minute).unwrap_or(NonZeroU32::MIN));
        Self { rate: RateLimiter::direct(quota), requests: share(2), waits: share(4) }
    }

    pub fn take_request(&self) -> Result<(), Problem> {
        self.rate.check().map_err(|denied| {
            let wait = denied.wait_time_from(DefaultClock::default().now());
            Problem::from(Code::RateLimited).retry_after(wait)
        })
    }
}

fn overloaded() -> Problem {
    Problem::from(Code::Overloaded).retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_its_permit_is_dropped() {
        let limits = Limits::new(1, 10 * UNIT_BYTES);
        let held = limits.memory(9 * UNIT_BYTES).unwrap();
        assert!(limits.memory(2 * UNIT_BYTES).is_err());
        drop(held);
        assert!(limits.memory(10 * UNIT_BYTES).is_ok());
    }

    #[test]
    fn one_office_cannot_take_all_waits() {
        let limits = Limits::new(3, 1);
        let (one, other) = (OfficeLimits::new(1, 8), OfficeLimits::new(1, 8));
        let held = [limits.wait(&one), limits.wait(&one)];
        assert!(held.iter().all(Option::is_some));
        assert!(limits.wait(&one).is_none());
        assert!(limits.wait(&other).is_some());
    }

    #[test]
    fn one_office_cannot_have_all_requests_under_way() {
        let limits = Limits::new(4, 1);
        let (one, other) = (OfficeLimits::new(1, 4), OfficeLimits::new(1, 4));
        let held = [limits.request(&one), limits.request(&one)];
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(limits.request(&one).err().map(|it| it.code), Some(Code::RateLimited));
        assert!(limits.request(&other).is_ok());
        drop(held);
        assert!(limits.request(&one).is_ok());
    }

    #[test]
    fn an_office_that_asks_too_often_is_told_when_to_come_back() {
        let limits = OfficeLimits::new(2, 1);
        assert!(limits.take_request().is_ok() && limits.take_request().is_ok());
        let problem = limits.take_request().unwrap_err();
        assert_eq!(problem.code, Code::RateLimited);
        let wait = problem.retry_after.unwrap();
        assert!(wait > Duration::from_secs(20) && wait <= Duration::from_secs(30), "{wait:?}");
    }
}
