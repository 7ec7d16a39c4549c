//! How much memory requests may take at once: an amount of bytes comes in, a permit that returns on drop goes out.

use super::problem::Problem;
use crate::domain::Code;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that may be held at once, for as long as somebody holds this limit or a permit of it. It counts in units.
pub struct MemoryLimit(Arc<Semaphore>);

/// The two limits that a request's memory counts against.
#[derive(Clone, Copy)]
pub struct MemoryLimits<'a> {
    /// Of all clients together.
    pub all: &'a MemoryLimit,
    /// Of the client that asks.
    pub client: &'a MemoryLimit,
}

/// Memory that a request holds; dropping it gives it back to both limits.
pub struct MemoryPermit {
    all: OwnedSemaphorePermit,
    client: OwnedSemaphorePermit,
}

const UNIT_BYTES: usize = 1024;

impl MemoryLimit {
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.div_ceil(UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS))))
    }

    fn take(&self, units: u32) -> Result<OwnedSemaphorePermit, Problem> {
        let overloaded = |_| Problem::from(Code::Overloaded).retry_after(Duration::from_secs(1));
        self.0.clone().try_acquire_many_owned(units).map_err(overloaded)
    }
}

impl MemoryLimits<'_> {
    pub fn take(&self, bytes: usize) -> Result<MemoryPermit, Problem> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let client = self.client.take(units)?;
        Ok(MemoryPermit { all: self.all.take(units)?, client })
    }
}

impl MemoryPermit {
    pub fn merge(&mut self, more: MemoryPermit) {
        self.all.merge(more.all);
        self.client.merge(more.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(units: usize) -> MemoryLimit {
        MemoryLimit::new(units * UNIT_BYTES)
    }

    #[test]
    fn memory_comes_back_when_its_permit_is_dropped() {
        let (all, one, other) = (of(10), of(6), of(6));
        let held = MemoryLimits { all: &all, client: &one }.take(5 * UNIT_BYTES).unwrap();
        assert!(MemoryLimits { all: &all, client: &other }.take(6 * UNIT_BYTES).is_err());
        drop(held);
        assert!(MemoryLimits { all: &all, client: &other }.take(6 * UNIT_BYTES).is_ok());
    }

    #[test]
    fn one_client_cannot_have_more_than_its_own() {
        let (all, one, other) = (of(10), of(6), of(6));
        let held = MemoryLimits { all: &all, client: &one }.take(6 * UNIT_BYTES).unwrap();
        assert!(MemoryLimits { all: &all, client: &one }.take(UNIT_BYTES).is_err());
        assert!(MemoryLimits { all: &all, client: &other }.take(4 * UNIT_BYTES).is_ok());
        drop(held);
    }
}
