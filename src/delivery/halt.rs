//! Halt: the agency's server says that it refuses our certificate, so nothing more is sent to it, by anybody, until a health
//! check finds that it takes the certificate again. The checks come at growing distances, up to a minute: in TLS 1.2 somebody on
//! the way may have said it (RFC 5246, section 7.2, leaves alerts in clear text until both sides have finished), and one check
//! that goes well ends it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// One to each agency, held by its [`AgencyConnection`](super::AgencyConnection).
#[derive(Debug)]
pub struct Halt {
    /// How long a new halt waits before its first health check: the breaker's cooldown, a minute at most.
    first_pause: Duration,
    /// Locked for a moment by every attempt that asks, and by whoever begins, prolongs or ends a halt.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Why nothing is sent now; `None` while the agency may be sent to.
    halted: Option<Halted>,
    /// How long the last halt waited between its health checks, and when it ended: one that comes back soon waits longer.
    last: Option<(Duration, Instant)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halted {
    /// The server's words, or what followed from them.
    pub why: String,
    /// What the last health check found, if that was something else.
    pub last_check: Option<String>,
    /// When the agency's consumer makes the next one.
    pub next_check: Instant,
    /// How long this halt waits between two of them. It doubles with each that fails.
    pause: Duration,
}

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why a health check has not gone well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckFailure {
    /// The agency is there, and still does not let us in.
    AccessRefused,
    /// It could not be asked, or is not well.
    Other,
}

impl std::fmt::Display for Halted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)?;
        self.last_check.as_ref().map_or(Ok(()), |found| write!(f, "; the last health check: {found}"))
    }
}

impl Halt {
    pub fn new(first_pause: Duration) -> Self {
        Self { first_pause: first_pause.min(LONGEST_PAUSE), state: Mutex::default() }
    }

    pub fn halted(&self) -> Option<Halted> {
        self.state().halted.clone()
    }

    /// `false` if it was halted already.
    pub fn begin(&self, why: &str, now: Instant) -> bool {
        let mut state = self.state();
        if state.halted.is_some() {
            return false;
        }
        let pause = match state.last {
            Some((pause, ended)) if now.duration_since(ended) < pause * 2 => longer(pause),
            _ => self.first_pause,
        };
        state.halted = Some(Halted { why: why.to_owned(), last_check: None, next_check: now + pause, pause });
        true
    }

    /// A health check has not gone well.
    pub fn go_on(&self, failure: CheckFailure, problem: &str, now: Instant) {
        if let Some(halted) = &mut self.state().halted {
            halted.pause = longer(halted.pause);
            halted.next_check = now + halted.pause;
            match failure {
                CheckFailure::AccessRefused => (halted.why, halted.last_check) = (problem.to_owned(), None),
                CheckFailure::Other => halted.last_check = Some(problem.to_owned()),
            }
        }
    }

    /// Something has changed here: the next health check is made now.
    pub fn check_now(&self, now: Instant) {
        if let Some(halted) = &mut self.state().halted {
            halted.next_check = now;
        }
    }

    pub fn end(&self, now: Instant) {
        let mut state = self.state();
        state.last = state.halted.take().map(|halted| (halted.pause, now));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_checks_come_at_growing_distances_and_a_halt_that_comes_back_begins_with_the_longer_one() {
        let (halt, begin) = (Halt::new(Duration::from_secs(10)), Instant::now());
        let at = |secs| begin + Duration::from_secs(secs);
        assert!(halt.begin("unknown_ca", at(0)));
        assert!(!halt.begin("again", at(1)));
        assert_eq!(halt.halted().unwrap().next_check, at(10));
        halt.go_on(CheckFailure::AccessRefused, "unknown_ca", at(10));
        assert_eq!(halt.halted().unwrap().next_check, at(30));
        halt.end(at(30));
        assert_eq!(halt.halted(), None);
        halt.begin("unknown_ca", at(31));
        assert_eq!(halt.halted().unwrap().next_check, at(71));
        halt.go_on(CheckFailure::Other, "no connection", at(71));
        assert_eq!(halt.halted().unwrap().to_string(), "unknown_ca; the last health check: no connection");
        assert_eq!(halt.halted().unwrap().next_check, at(131), "never longer than a minute");
        halt.check_now(at(40));
        assert_eq!(halt.halted().unwrap().next_check, at(40));
        halt.end(at(40));
        halt.begin("unknown_ca", at(1000));
        assert_eq!(halt.halted().unwrap().next_check, at(1010));
        let halt = Halt::new(Duration::from_secs(3600));
        halt.begin("unknown_ca", at(0));
        assert_eq!(halt.halted().unwrap().next_check, at(60), "never longer than a minute, whatever the cooldown");
    }
}
