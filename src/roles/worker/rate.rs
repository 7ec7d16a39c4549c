//! Rate: how many requests a second an agency takes comes in; whether one may go now goes out.

use std::{num::NonZeroU32, time::Duration};
use tokio::time::Instant;

/// Evenly spread, so that nobody's single request waits for the rest of a second that another's have filled. After a rest
/// a tenth of a second's requests may go at once.
pub struct Rate(Option<Even>);

struct Even {
    interval: Duration,
    at_once: Duration,
    /// When the next request would be due if all were evenly spread.
    next: Instant,
}

const AT_ONCE_PER_SECOND: u32 = 10;

impl Rate {
    pub fn new(per_second: Option<NonZeroU32>, now: Instant) -> Self {
        Self(per_second.map(|per_second| {
            let interval = Duration::from_secs(1) / per_second.get();
            let more_at_once = (per_second.get() / AT_ONCE_PER_SECOND).saturating_sub(1);
            Even { interval, at_once: interval * more_at_once, next: now }
        }))
    }

    /// `None`: now.
    pub fn free_in(&self, now: Instant) -> Option<Duration> {
        let Even { at_once, next, .. } = self.0.as_ref()?;
        let wait = next.saturating_duration_since(now).saturating_sub(*at_once);
        (!wait.is_zero()).then_some(wait)
    }

    pub fn count(&mut self, now: Instant) {
        if let Some(Even { interval, next, .. }) = &mut self.0 {
            *next = (*next).max(now) + *interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spread_evenly_and_a_tenth_of_a_seconds_may_go_at_once() {
        let begun = Instant::now();
        let (mut rate, mut now, mut gone) = (Rate::new(NonZeroU32::new(50), begun), begun, Vec::new());
        while gone.len() < 55 {
            match rate.free_in(now) {
                Some(wait) => now += wait,
                None => {
                    rate.count(now);
                    gone.push(now - begun);
                }
            }
        }
        assert!(gone[4] < Duration::from_millis(1) && gone[5] >= Duration::from_millis(19), "{gone:?}");
        assert!(gone[54] >= Duration::from_millis(995), "{gone:?}");
        assert!(gone.windows(2).all(|pair| pair[1] - pair[0] < Duration::from_millis(25)), "{gone:?}");
    }
}
