//! When to try again: an attempt's number and what the other side asked for come in, a waiting time goes out.

use backoff::{ExponentialBackoffBuilder, backoff::Backoff};
use std::time::Duration;

/// Exponential waits with jitter, a ceiling and a limit. Valid by construction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    first: Duration,
    ceiling: Duration,
    factor: f64,
    jitter: f64,
    max_attempts: u32,
    max_retry_after: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {remedy}")]
pub struct InvalidSchedule {
    pub key: &'static str,
    pub remedy: &'static str,
}

impl Schedule {
    /// `jitter` is the share of each wait by which it may be shorter or longer: 0.2 means ±20 %.
    pub fn new(
        first: Duration,
        ceiling: Duration,
        factor: f64,
        jitter: f64,
        max_attempts: u32,
        max_retry_after: Duration,
    ) -> Result<Self, InvalidSchedule> {
        let wrong = |key, remedy| Err(InvalidSchedule { key, remedy });
        if first.is_zero() || first > ceiling {
            return wrong("first_wait_secs", "must be more than 0 and at most max_wait_secs");
        }
        if ceiling > Duration::from_secs(7 * 86_400) {
            return wrong("max_wait_secs", "must be at most 604800, which is a week");
        }
        if !(1.0..=10.0).contains(&factor) {
            return wrong("factor", "must be from 1 to 10");
        }
        if !(0.0..=0.5).contains(&jitter) {
            return wrong("jitter", "must be from 0 to 0.5");
        }
        if !(1..=1000).contains(&max_attempts) {
            return wrong("max_attempts", "must be from 1 to 1000");
        }
        Ok(Self { first, ceiling, factor, jitter, max_attempts, max_retry_after })
    }

    pub fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// The wait after `tries` failed attempts, or `None` once they are used up. A `Retry-After` of the other side makes
    /// the wait longer, never shorter, and never longer than the limit for it.
    pub fn wait_after(&self, tries: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if tries >= self.max_attempts {
            return None;
        }
        let own = self.exponential(tries.max(1));
        Some(retry_after.map_or(own, |asked| own.max(self.bounded(asked))))
    }

    /// The wait for an agency that is away and has been waited for that long already: as if each wait so far had been a try,
    /// but without a limit.
    pub fn wait_while_away(&self, waited: Duration, retry_after: Option<Duration>) -> Duration {
        let (mut tries, mut sum, mut next) = (1, self.first, self.first);
        while sum <= waited && next < self.ceiling && tries < 1000 {
            tries += 1;
            next = self.ceiling.min(next.mul_f64(self.factor));
            sum += next;
        }
        let own = self.exponential(tries);
        retry_after.map_or(own, |asked| own.max(self.bounded(asked)))
    }

    /// A wait that the other side asks for, within its limit.
    pub fn bounded(&self, retry_after: Duration) -> Duration {
        retry_after.min(self.max_retry_after)
    }

    fn exponential(&self, tries: u32) -> Duration {
        // `backoff` counts by itself; starting it at the power we need keeps it a pure function of the try's number.
        let grown = self.first.as_secs_f64() * self.factor.powi(tries.min(1000) as i32 - 1);
        let start = Duration::from_secs_f64(grown.min(self.ceiling.as_secs_f64()));
        let mut policy = ExponentialBackoffBuilder::new()
            .with_initial_interval(start)
            .with_max_interval(self.ceiling)
            .with_multiplier(self.factor)
            .with_randomization_factor(self.jitter)
            .with_max_elapsed_time(None)
            .build();
        policy.next_backoff().unwrap_or(self.ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(jitter: f64) -> Schedule {
        let secs = Duration::from_secs;
        Schedule::new(secs(2), secs(60), 2.0, jitter, 6, secs(300)).unwrap()
    }

    #[test]
    fn waits_grow_to_the_ceiling_and_end_at_the_limit() {
        let waits: Vec<_> = (1..=6).map(|tries| schedule(0.0).wait_after(tries, None).map(|w| w.as_secs())).collect();
        assert_eq!(waits, [Some(2), Some(4), Some(8), Some(16), Some(32), None]);
    }

    #[test]
    fn jitter_stays_within_its_share() {
        for _ in 0..200 {
            let wait = schedule(0.2).wait_after(3, None).unwrap().as_secs_f64();
            assert!((6.4..=9.6).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn retry_after_lengthens_a_wait_within_its_limit() {
        let secs = Duration::from_secs;
        assert_eq!(schedule(0.0).wait_after(1, Some(secs(100))), Some(secs(100)));
        assert_eq!(schedule(0.0).wait_after(1, Some(secs(1))), Some(secs(2)));
        assert_eq!(schedule(0.0).wait_after(1, Some(secs(100_000))), Some(secs(300)));
    }

    #[test]
    fn the_waits_for_an_agency_that_is_away_grow_to_the_ceiling_and_have_no_limit() {
        let secs = Duration::from_secs;
        let wait = |waited| schedule(0.0).wait_while_away(secs(waited), None).as_secs();
        assert_eq!([0, 2, 6, 14, 30, 62, 86_400].map(wait), [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(schedule(0.0).wait_while_away(secs(0), Some(secs(100_000))), secs(300));
    }

    #[test]
    fn a_schedule_that_makes_no_sense_cannot_exist() {
        let secs = Duration::from_secs;
        assert!(Schedule::new(secs(0), secs(60), 2.0, 0.1, 6, secs(1)).is_err());
        assert!(Schedule::new(secs(61), secs(60), 2.0, 0.1, 6, secs(1)).is_err());
        assert!(Schedule::new(secs(1), secs(60), f64::NAN, 0.1, 6, secs(1)).is_err());
        assert!(Schedule::new(secs(1), secs(60), 2.0, 0.9, 6, secs(1)).is_err());
        assert!(Schedule::new(secs(1), secs(60), 2.0, 0.1, 0, secs(1)).is_err());
    }
}
