//! The circuit breaker of one agency: outcomes and the time come in, whether work may go out, and whose, goes out.

use super::fair_queue::Owner;
use crate::{
    adapter::BreakerPolicy,
    delivery::HealthSignal,
    domain::{OfficeName, SubmissionId, later},
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

/// Opens after so many failures without a success between them; after the cooldown one probe decides. Where the agency's folder
/// declares a request that changes nothing, it goes before that probe, and the probe only after it has gone well.
///
/// Whose submissions it keeps waiting depends on who has failed. Nobody gets a connection: that is about the agency. Requests
/// of two offices at least meet silence or failures: that is as well. If they are of one office alone, they may fail because
/// of what it asks, and only that office waits; any other's success shows that the agency is there.
#[derive(Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    circuit: Circuit,
    /// Of this opening: the agency may have asked for a longer one.
    cooldown: Duration,
    /// Since the last success, the newest last.
    failures: Vec<Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub office: Owner,
    pub submission: SubmissionId,
    pub at: Timestamp,
    is_unreachable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Circuit {
    Closed,
    Open {
        until: Timestamp,
        whose: BreakerScope,
    },
    /// One submission may go as a probe, and its outcome closes or reopens.
    HalfOpen {
        whose: BreakerScope,
    },
}

impl Circuit {
    pub fn keeps_all_waiting(&self) -> bool {
        match self {
            Circuit::Open { whose, .. } | Circuit::HalfOpen { whose } => *whose == BreakerScope::All,
            Circuit::Closed => false,
        }
    }
}

/// What a request is sent for, beside the submission's own sake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    Ordinary,
    /// It finds out for all others whether an agency that failed again and again is there again.
    Probe,
    /// No submission at all: the declared request before the probe.
    HealthCheck,
}

/// Whose submissions wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakerScope {
    All,
    Office(Owner),
}

/// Failures that are remembered beyond those that open the circuit.
const REMEMBERED: usize = 64;

impl Breaker {
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, circuit: Circuit::Closed, cooldown: policy.cooldown, failures: Vec::new() }
    }

    pub fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    /// When this stretch of failures began.
    pub fn failing_since(&self) -> Option<Timestamp> {
        self.failures.first().map(|failure| failure.at)
    }

    /// How many of the failures were this office's: the probe is somebody else's, if anybody else has something to send.
    pub fn failures_of(&self, office: &Owner) -> usize {
        self.failures.iter().filter(|failure| failure.office == *office).count()
    }

    /// The same of every office that is known and has failed.
    pub fn failures(&self) -> BTreeMap<OfficeName, usize> {
        let mut failures = BTreeMap::new();
        for office in self.failures.iter().filter_map(|failure| failure.office.clone()) {
            *failures.entry(office).or_default() += 1;
        }
        failures
    }

    /// The cooldown may be over: an open circuit becomes half open.
    pub fn tick(&mut self, now: Timestamp) -> &Circuit {
        if let Circuit::Open { until, whose } = &self.circuit {
            // A clock that was set back makes no cooldown longer.
            let until = (*until).min(after(now, self.cooldown));
            self.circuit = match until <= now {
                true => Circuit::HalfOpen { whose: whose.clone() },
                false => Circuit::Open { until, whose: whose.clone() },
            };
        }
        &self.circuit
    }

    pub fn record_outcome(
        &mut self,
        office: &Owner,
        submission: SubmissionId,
        signal: HealthSignal,
        kind: RequestKind,
        now: Timestamp,
    ) {
        let decides = self.is_decided_by(office, kind);
        match signal {
            HealthSignal::NoSignal => {}
            HealthSignal::Healthy if decides => self.close(),
            // An answer shows that somebody is there; but it clears nobody's failures.
            HealthSignal::Responded if decides && self.circuit != Circuit::Closed => self.close(),
            HealthSignal::Healthy | HealthSignal::Responded => {}
            HealthSignal::Failing { .. } | HealthSignal::Unreachable => {
                self.remember(Failure {
                    office: office.clone(),
                    submission,
                    at: now,
                    is_unreachable: signal == HealthSignal::Unreachable,
                });
                let asked = if let HealthSignal::Failing { retry_after } = signal { retry_after } else { None };
                if decides {
                    self.opens(office, asked, now);
                }
            }
        }
    }

    /// Before its probe went, the agency was not found well.
    pub fn reopen(&mut self, now: Timestamp) {
        if let Circuit::HalfOpen { whose } = &self.circuit {
            self.circuit = Circuit::Open { until: after(now, self.cooldown), whose: whose.clone() };
        }
    }

    fn close(&mut self) {
        self.circuit = Circuit::Closed;
        self.failures.clear();
    }

    /// Of those whom the circuit keeps waiting only the probe decides. Requests that were under way when it opened do not:
    /// they speak of the time before.
    fn is_decided_by(&self, office: &Owner, kind: RequestKind) -> bool {
        match &self.circuit {
            Circuit::Open { whose, .. } if whose.covers(office) => false,
            Circuit::HalfOpen { whose } if whose.covers(office) => kind == RequestKind::Probe,
            Circuit::Closed | Circuit::Open { .. } | Circuit::HalfOpen { .. } => true,
        }
    }

    fn remember(&mut self, failure: Failure) {
        self.failures.push(failure);
        if self.failures.len() > REMEMBERED.max(self.policy.failures.get() as usize) {
            // The first tells since when.
            self.failures.remove(1);
        }
    }

    fn opens(&mut self, office: &Owner, asked: Option<Duration>, now: Timestamp) {
        let before = match &self.circuit {
            Circuit::HalfOpen { whose } if whose.covers(office) => Some(whose.clone()),
            Circuit::Closed | Circuit::Open { .. } | Circuit::HalfOpen { .. } => None,
        };
        if let Some(whose) = self.affected().max_with(before) {
            self.cooldown = self.policy.cooldown.max(asked.unwrap_or_default());
            self.circuit = Circuit::Open { until: after(now, self.cooldown), whose };
        }
    }

    /// Whose submissions these failures keep waiting.
    fn affected(&self) -> Affected {
        let enough = self.policy.failures.get() as usize;
        if self.failures.iter().filter(|failure| failure.is_unreachable).count() >= enough {
            return Affected(Some(BreakerScope::All));
        }
        let submissions: HashSet<_> = self.failures.iter().map(|failure| failure.submission).collect();
        if self.failures.len() < enough || submissions.len() < 2 {
            return Affected(None);
        }
        let is_one_offices = self.failures.windows(2).all(|pair| pair[0].office == pair[1].office);
        let first = self.failures.first().filter(|_| is_one_offices).map(|failure| failure.office.clone());
        Affected(Some(first.map_or(BreakerScope::All, BreakerScope::Office)))
    }
}

struct Affected(Option<BreakerScope>);

impl Affected {
    /// A probe that failed never lets anybody go who waited before.
    fn max_with(self, before: Option<BreakerScope>) -> Option<BreakerScope> {
        match (self.0, before) {
            (Some(BreakerScope::All), _) | (_, Some(BreakerScope::All)) => Some(BreakerScope::All),
            (affected, before) => before.or(affected),
        }
    }
}

impl BreakerScope {
    pub fn covers(&self, office: &Owner) -> bool {
        match self {
            BreakerScope::All => true,
            BreakerScope::Office(one) => one == office,
        }
    }
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    later(now, wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    const FAILING: HealthSignal = HealthSignal::Failing { retry_after: None };

    fn breaker() -> Breaker {
        let failures = NonZeroU32::new(3).unwrap();
        Breaker::new(BreakerPolicy { failures, cooldown: Duration::from_secs(30) })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn office(name: &str) -> Owner {
        name.parse().ok()
    }

    /// Each time of another submission.
    fn record(breaker: &mut Breaker, name: &str, signal: HealthSignal, second: i64) {
        breaker.record_outcome(&office(name), SubmissionId::new(), signal, RequestKind::Ordinary, at(second));
    }

    fn probed(breaker: &mut Breaker, name: &str, signal: HealthSignal, second: i64) {
        breaker.record_outcome(&office(name), SubmissionId::new(), signal, RequestKind::Probe, at(second));
    }

    fn open(until: i64, whose: BreakerScope) -> Circuit {
        Circuit::Open { until: at(until), whose }
    }

    #[test]
    fn failures_of_two_offices_open_it_for_all_and_one_good_probe_closes_it() {
        let mut breaker = breaker();
        for (name, signal) in
            [("one", FAILING), ("two", FAILING), ("one", HealthSignal::Healthy), ("one", FAILING), ("two", FAILING)]
        {
            record(&mut breaker, name, signal, 0);
            assert_eq!(*breaker.circuit(), Circuit::Closed);
        }
        record(&mut breaker, "one", FAILING, 0);
        assert_eq!(*breaker.tick(at(29)), open(30, BreakerScope::All));
        assert_eq!(*breaker.tick(at(30)), Circuit::HalfOpen { whose: BreakerScope::All });
        probed(&mut breaker, "two", HealthSignal::Healthy, 31);
        assert_eq!(*breaker.circuit(), Circuit::Closed);
    }

    #[test]
    fn failures_of_one_office_alone_keep_only_it_waiting_and_anothers_success_lets_it_go() {
        let mut breaker = breaker();
        (0..9).for_each(|_| record(&mut breaker, "one", FAILING, 0));
        let circuit = breaker.circuit().clone();
        assert_eq!(circuit, open(30, BreakerScope::Office(office("one"))));
        assert!(matches!(circuit, Circuit::Open { whose, .. } if !whose.covers(&office("two"))));
        record(&mut breaker, "one", HealthSignal::Healthy, 1);
        assert_ne!(*breaker.circuit(), Circuit::Closed, "what was under way before does not decide");
        record(&mut breaker, "two", HealthSignal::Healthy, 1);
        assert_eq!(*breaker.circuit(), Circuit::Closed);
    }

    #[test]
    fn another_offices_failure_shows_that_it_is_the_agency() {
        let mut breaker = breaker();
        (0..3).for_each(|_| record(&mut breaker, "one", FAILING, 0));
        record(&mut breaker, "two", FAILING, 1);
        assert_eq!(*breaker.circuit(), open(31, BreakerScope::All));
        assert!(breaker.failures_of(&office("two")) < breaker.failures_of(&office("one")));
        assert_eq!(breaker.failing_since(), Some(at(0)));
    }

    #[test]
    fn one_submissions_failures_open_nothing_unless_there_is_no_connection() {
        let (mut silent, mut unreachable) = (breaker(), breaker());
        let submission = SubmissionId::new();
        for _ in 0..9 {
            silent.record_outcome(&office("one"), submission, FAILING, RequestKind::Ordinary, at(0));
            unreachable.record_outcome(
                &office("one"),
                submission,
                HealthSignal::Unreachable,
                RequestKind::Ordinary,
                at(0),
            );
        }
        assert_eq!(*silent.circuit(), Circuit::Closed);
        assert_eq!(*unreachable.circuit(), open(30, BreakerScope::All));
    }

    #[test]
    fn an_answered_fault_opens_nothing_and_clears_nothing_but_shows_a_probe_that_somebody_is_there() {
        let mut breaker = breaker();
        (0..9).for_each(|_| record(&mut breaker, "one", HealthSignal::Responded, 0));
        assert_eq!(*breaker.circuit(), Circuit::Closed);
        for signal in [FAILING, HealthSignal::Responded, FAILING, HealthSignal::Responded] {
            record(&mut breaker, "one", signal, 0);
        }
        record(&mut breaker, "two", FAILING, 0);
        assert_eq!(*breaker.circuit(), open(30, BreakerScope::All));
        breaker.tick(at(30));
        probed(&mut breaker, "one", HealthSignal::Responded, 31);
        assert_eq!(*breaker.circuit(), Circuit::Closed);
    }

    #[test]
    fn a_bad_probe_opens_it_again_and_stragglers_change_nothing() {
        let mut breaker = breaker();
        (0..3).for_each(|_| record(&mut breaker, "one", HealthSignal::Unreachable, 0));
        for signal in [HealthSignal::Healthy, HealthSignal::Responded, HealthSignal::Unreachable] {
            record(&mut breaker, "one", signal, 1);
            assert_eq!(*breaker.circuit(), open(30, BreakerScope::All), "{signal:?}");
        }
        breaker.tick(at(30));
        for signal in [HealthSignal::Healthy, HealthSignal::Responded, FAILING, HealthSignal::Unreachable] {
            record(&mut breaker, "two", signal, 31);
            assert_eq!(*breaker.circuit(), Circuit::HalfOpen { whose: BreakerScope::All }, "{signal:?}");
        }
        probed(&mut breaker, "one", HealthSignal::NoSignal, 31);
        assert_eq!(*breaker.circuit(), Circuit::HalfOpen { whose: BreakerScope::All });
        probed(&mut breaker, "one", HealthSignal::Unreachable, 32);
        assert_eq!(*breaker.circuit(), open(62, BreakerScope::All));
    }

    #[test]
    fn a_health_check_that_fails_opens_only_what_is_half_open_and_is_no_failure_of_anybody() {
        let mut breaker = breaker();
        breaker.reopen(at(0));
        assert_eq!(*breaker.circuit(), Circuit::Closed);
        (0..3).for_each(|_| record(&mut breaker, "one", FAILING, 0));
        breaker.reopen(at(1));
        assert_eq!(*breaker.circuit(), open(30, BreakerScope::Office(office("one"))));
        for second in [30, 60, 90] {
            breaker.tick(at(second));
            breaker.reopen(at(second));
            assert_eq!(*breaker.circuit(), open(second + 30, BreakerScope::Office(office("one"))));
        }
        assert_eq!(breaker.failures_of(&office("one")), 3);
    }

    #[test]
    fn while_one_office_waits_for_its_probe_the_others_still_decide() {
        for (signal, expected) in [(HealthSignal::Healthy, Circuit::Closed), (FAILING, open(61, BreakerScope::All))] {
            let mut breaker = breaker();
            (0..3).for_each(|_| record(&mut breaker, "one", FAILING, 0));
            breaker.tick(at(30));
            record(&mut breaker, "one", signal, 31);
            assert_eq!(*breaker.circuit(), Circuit::HalfOpen { whose: BreakerScope::Office(office("one")) });
            record(&mut breaker, "two", signal, 31);
            assert_eq!(*breaker.circuit(), expected, "{signal:?}");
        }
    }

    #[test]
    fn the_wait_that_the_agency_asks_for_makes_the_cooldown_longer() {
        let mut breaker = breaker();
        let asks = HealthSignal::Failing { retry_after: Some(Duration::from_secs(120)) };
        ["one", "two", "one"].iter().for_each(|name| record(&mut breaker, name, asks, 0));
        assert_eq!(*breaker.circuit(), open(120, BreakerScope::All));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_make_the_cooldown_longer() {
        let mut breaker = breaker();
        (0..3).for_each(|_| record(&mut breaker, "one", HealthSignal::Unreachable, 36_000));
        assert_eq!(*breaker.tick(at(36_010)), open(36_030, BreakerScope::All));
        assert_eq!(*breaker.tick(at(20)), open(50, BreakerScope::All));
        assert_eq!(*breaker.tick(at(50)), Circuit::HalfOpen { whose: BreakerScope::All });
    }
}
