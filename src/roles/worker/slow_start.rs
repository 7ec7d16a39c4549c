//! Slow start after an outage: successes come in; how many requests may be under way, and whether more of what waits in the
//! journal is to be woken, goes out.

use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// After an outage one request at a time, and one more with each success: an agency that is back is not flooded.
pub struct SlowStart {
    most: u32,
    slots: u32,
    /// Submissions that have waited since before this moment may be woken. It is the moment at which the agency came back,
    /// or at which this consumer began.
    waking: Option<Timestamp>,
    /// Whether the agency has answered since: only then more than one is woken.
    is_proved: bool,
    wake_again_at: Instant,
}

/// About the time that a woken submission needs to come through the relay.
const BETWEEN_WAKES: Duration = Duration::from_millis(50);
/// Before the journal is asked again, if nothing was there, or if what was there has to show first that the agency is.
const AFTER_ONE: Duration = Duration::from_secs(1);

impl SlowStart {
    /// Full pace, and a look whether something has waited for the agency since before this process began.
    pub fn beginning(most: u32, now: Timestamp) -> Self {
        Self { most, slots: most, waking: Some(now), is_proved: false, wake_again_at: Instant::now() }
    }

    pub fn slots(&self) -> u32 {
        self.slots
    }

    pub fn restart(&mut self, now: Timestamp) {
        self.slots = 1;
        self.wake_all(now);
    }

    /// The agency takes what has waited until now.
    pub fn wake_all(&mut self, now: Timestamp) {
        (self.waking, self.is_proved, self.wake_again_at) = (Some(now), true, Instant::now());
    }

    /// It has failed: until the next success no more than one is woken at a time.
    pub fn pause_growth(&mut self) {
        self.is_proved = false;
    }

    pub fn grow(&mut self) {
        self.slots = self.slots.saturating_add(1).min(self.most);
        self.is_proved = true;
    }

    /// What waits since before then may be woken, and how many at a time. `None`: all of it has been.
    pub fn to_wake(&self) -> Option<(Timestamp, u32)> {
        let wanted = if self.is_proved { self.slots.saturating_mul(2) } else { 1 };
        self.waking.map(|before| (before, wanted))
    }

    pub fn may_wake(&self) -> bool {
        Instant::now() >= self.wake_again_at
    }

    pub fn wake_later(&mut self) {
        self.wake_again_at = Instant::now() + AFTER_ONE;
    }

    pub fn woken(&mut self, count: usize) {
        self.wake_again_at = Instant::now() + if count > 0 && self.is_proved { BETWEEN_WAKES } else { AFTER_ONE };
        if count == 0 {
            self.waking = None;
        }
    }

    /// How long nothing is woken.
    pub fn rest(&self) -> Duration {
        match self.waking {
            Some(_) => self.wake_again_at.saturating_duration_since(Instant::now()).max(BETWEEN_WAKES),
            None => Duration::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_an_outage_it_is_slow_and_what_waited_of_one_office_alone_is_woken_at_full_pace() {
        let now = Timestamp::UNIX_EPOCH;
        let mut slow_start = SlowStart::beginning(8, now);
        slow_start.woken(0);
        assert_eq!(slow_start.to_wake(), None);
        slow_start.wake_all(now);
        assert_eq!((slow_start.slots(), slow_start.to_wake()), (8, Some((now, 16))));
        slow_start.restart(now);
        assert_eq!((slow_start.slots(), slow_start.to_wake()), (1, Some((now, 2))));
    }
}
