//! Halt: the agency's server has refused our certificate, so nothing more is sent to it, by anybody, until a look at it
//! finds that it takes the certificate again. Looks come at growing distances.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

#[derive(Debug)]
pub struct Halt {
    first_pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    halted: Option<Halted>,
    /// How long the last one waited between its looks, and when it ended: one that comes back soon waits longer.
    last: Option<(Duration, Instant)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halted {
    /// The server's words.
    pub why: String,
    pub next_look: Instant,
    pause: Duration,
}

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Halt {
    pub fn new(first_pause: Duration) -> Self {
        Self { first_pause, state: Mutex::default() }
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
        state.halted = Some(Halted { why: why.to_owned(), next_look: now + pause, pause });
        true
    }

    /// A look has found it as before.
    pub fn go_on(&self, why: &str, now: Instant) {
        if let Some(halted) = &mut self.state().halted {
            halted.pause = longer(halted.pause);
            halted.next_look = now + halted.pause;
            why.clone_into(&mut halted.why);
        }
    }

    /// Something has changed here: it is looked at now.
    pub fn look_now(&self, now: Instant) {
        if let Some(halted) = &mut self.state().halted {
            halted.next_look = now;
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
    (pause * 2).min(LONGEST_PAUSE.max(pause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_at_growing_distances_and_a_halt_that_comes_back_begins_with_the_longer_one() {
        let (halt, begin) = (Halt::new(Duration::from_secs(10)), Instant::now());
        let at = |secs| begin + Duration::from_secs(secs);
        assert!(halt.begin("unknown_ca", at(0)));
        assert!(!halt.begin("again", at(1)));
        assert_eq!(halt.halted().unwrap().next_look, at(10));
        halt.go_on("unknown_ca", at(10));
        assert_eq!(halt.halted().unwrap().next_look, at(30));
        halt.end(at(30));
        assert_eq!(halt.halted(), None);
        halt.begin("unknown_ca", at(31));
        assert_eq!(halt.halted().unwrap().next_look, at(71));
        halt.go_on("unknown_ca", at(71));
        assert_eq!(halt.halted().unwrap().next_look, at(131), "never longer than a minute");
        halt.look_now(at(40));
        assert_eq!(halt.halted().unwrap().next_look, at(40));
        halt.end(at(40));
        halt.begin("unknown_ca", at(1000));
        assert_eq!(halt.halted().unwrap().next_look, at(1010));
    }
}
