//! Jumps of the clock: its time comes in again and again; whether it was set forward a moment ago goes out. Where something
//! must really have waited, a clock that was set forward proves nothing.

use jiff::{SignedDuration, Timestamp};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// One in each process with the role of the worker, held by its [`Deliverer`](super::Deliverer) from the start to the end.
/// Attempts lock it for a moment, whenever they ask.
pub struct ClockJumpDetector(Mutex<Seen>);

struct Seen {
    /// The clock's time when somebody asked last.
    at: Timestamp,
    /// The same moment by the machine's own counter, which nobody sets.
    moment: Instant,
    /// When it was last noticed that the clock had been set forward. It is never forgotten.
    set_forward: Option<Instant>,
}

/// What the clock may gain on the machine's own counter without having been set.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

impl ClockJumpDetector {
    pub fn beginning(now: Timestamp) -> Self {
        Self(Mutex::new(Seen { at: now, moment: Instant::now(), set_forward: None }))
    }

    pub fn was_set_forward_within(&self, span: Duration, now: Timestamp) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = Instant::now();
        let really = SignedDuration::try_from(moment - seen.moment).unwrap_or(SignedDuration::MAX);
        if now.duration_since(seen.at) > really.saturating_add(TOLERANCE) {
            tracing::warn!(seen = %seen.at, %now, "the clock was set forward");
            seen.set_forward = Some(moment);
        }
        (seen.at, seen.moment) = (now, moment);
        seen.set_forward.is_some_and(|set| moment - set < span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_forward_is_known_for_a_while_and_one_that_is_set_back_is_not_meant() {
        let begun: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let clock_jumps = ClockJumpDetector::beginning(begun);
        let (second, hour) = (Duration::from_secs(1), SignedDuration::from_hours(1));
        assert!(!clock_jumps.was_set_forward_within(second, begun));
        assert!(!clock_jumps.was_set_forward_within(second, begun - hour));
        assert!(clock_jumps.was_set_forward_within(second, begun));
        assert!(clock_jumps.was_set_forward_within(second, begun));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!clock_jumps.was_set_forward_within(Duration::from_millis(10), begun));
    }
}
