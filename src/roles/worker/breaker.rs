//! The circuit breaker of one agency: outcomes and the time come in, whether work may go out goes out.

use crate::{adapter::BreakerPolicy, road::Sign};
use jiff::{SignedDuration, Timestamp};

/// Opens after so many failures of agency or network in a row; after the cooldown one probe decides.
#[derive(Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    circuit: Circuit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    Closed {
        failures_in_a_row: u32,
    },
    Open {
        until: Timestamp,
    },
    /// One submission may go; its outcome closes or reopens.
    HalfOpen,
}

impl Breaker {
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, circuit: Circuit::Closed { failures_in_a_row: 0 } }
    }

    pub fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// The cooldown may be over: an open circuit becomes half open.
    pub fn tick(&mut self, now: Timestamp) -> Circuit {
        if let Circuit::Open { until } = self.circuit {
            // A clock that was set back makes no cooldown longer.
            let until = until.min(self.cooled_down_after(now));
            self.circuit = if until <= now { Circuit::HalfOpen } else { Circuit::Open { until } };
        }
        self.circuit
    }

    pub fn learn(&mut self, sign: Sign, now: Timestamp) {
        self.circuit = match (self.circuit, sign) {
            (circuit, Sign::None) => circuit,
            (Circuit::Closed { .. } | Circuit::HalfOpen, Sign::Well) => Circuit::Closed { failures_in_a_row: 0 },
            (Circuit::Closed { failures_in_a_row }, Sign::Ill) => {
                let failures_in_a_row = failures_in_a_row + 1;
                if failures_in_a_row >= self.policy.failures.get() {
                    self.opened(now)
                } else {
                    Circuit::Closed { failures_in_a_row }
                }
            }
            (Circuit::HalfOpen, Sign::Ill) => self.opened(now),
            // What was under way when the circuit opened does not decide; the probe does.
            (open @ Circuit::Open { .. }, Sign::Well | Sign::Ill) => open,
        };
    }

    fn opened(&self, now: Timestamp) -> Circuit {
        Circuit::Open { until: self.cooled_down_after(now) }
    }

    fn cooled_down_after(&self, now: Timestamp) -> Timestamp {
        let cooldown = SignedDuration::try_from(self.policy.cooldown).unwrap_or(SignedDuration::MAX);
        now.saturating_add(cooldown).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{num::NonZeroU32, time::Duration};

    fn breaker() -> Breaker {
        let failures = NonZeroU32::new(3).unwrap();
        Breaker::new(BreakerPolicy { failures, cooldown: Duration::from_secs(30) })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_good_probe_closes_it() {
        let mut breaker = breaker();
        for sign in [Sign::Ill, Sign::Ill, Sign::Well, Sign::Ill, Sign::Ill] {
            breaker.learn(sign, at(0));
            assert!(matches!(breaker.circuit(), Circuit::Closed { .. }));
        }
        breaker.learn(Sign::Ill, at(0));
        assert_eq!(breaker.tick(at(29)), Circuit::Open { until: at(30) });
        assert_eq!(breaker.tick(at(30)), Circuit::HalfOpen);
        breaker.learn(Sign::Well, at(31));
        assert_eq!(breaker.circuit(), Circuit::Closed { failures_in_a_row: 0 });
    }

    #[test]
    fn a_bad_probe_opens_it_again_and_stragglers_change_nothing() {
        let mut breaker = breaker();
        (0..3).for_each(|_| breaker.learn(Sign::Ill, at(0)));
        breaker.learn(Sign::Well, at(1));
        assert_eq!(breaker.circuit(), Circuit::Open { until: at(30) });
        breaker.tick(at(30));
        breaker.learn(Sign::None, at(31));
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        breaker.learn(Sign::Ill, at(32));
        assert_eq!(breaker.circuit(), Circuit::Open { until: at(62) });
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_make_the_cooldown_longer() {
        let mut breaker = breaker();
        (0..3).for_each(|_| breaker.learn(Sign::Ill, at(3600)));
        assert_eq!(breaker.tick(at(3610)), Circuit::Open { until: at(3630) });
        assert_eq!(breaker.tick(at(20)), Circuit::Open { until: at(50) });
        assert_eq!(breaker.tick(at(49)), Circuit::Open { until: at(50) });
        assert_eq!(breaker.tick(at(50)), Circuit::HalfOpen);
    }
}
