//! Settle: what an attempt came to comes in, the event that the journal must record goes out.
//!
//! This is the one place that decides whether to try again.

use super::HealthSignal;
use crate::{
    adapter::Reading,
    domain::{Answer, Code, Effect, Event, Fault, Schedule, Stage, Verdict, later},
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// The longest wait for an agency that is away. Too few submissions may fail to open its circuit, and then these retries are
/// the only thing that notices its return.
/// What has reached it and met silence or a failure may be the reason: its waits grow to the schedule's longest.
const LONGEST_WAIT_FOR_AGENCY: Duration = Duration::from_secs(60);

/// What the decision depends on, beside the outcome.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    pub effect: Effect,
    pub attempt: u32,
    /// Tries that count against the schedule, this one included.
    pub tries: u32,
    pub schedule: &'a Schedule,
    pub now: Timestamp,
    /// Since when the submission waits for an agency that is away.
    pub waiting_since: Option<Timestamp>,
    /// While it was under way, the agency was found to let nobody of this installation in.
    pub is_halted: bool,
    /// How long the next try waits at least after the agency's certain word that it has done nothing.
    pub pause: SignedDuration,
}

pub fn settle(outcome: Result<Reading, Fault>, case: Case<'_>) -> Event {
    let attempt = case.attempt;
    match outcome {
        Ok(Reading::Answered { answer }) => Event::Answered { attempt, answer: Answer(answer) },
        Ok(Reading::Refused { refusal }) => Event::RefusedByAgency { attempt, refusal },
        Ok(Reading::Waiting) => Event::TakenByAgency { attempt, at: case.now },
        Ok(Reading::Failed { code, transient, .. }) => {
            let kind = if transient { Code::AgencyFaultTransient } else { Code::AgencyFault };
            failed(Fault::new(kind, Stage::Read, format!("the agency's code is {code}")), case)
        }
        Ok(Reading::NotSeen | Reading::Unmapped) => {
            failed(Fault::new(Code::AnswerUnexpected, Stage::Read, "the filter gave no reading"), case)
        }
        Err(fault) => failed(fault, case),
    }
}

/// The design's table of effects.
fn failed(fault: Fault, case: Case<'_>) -> Event {
    match (fault.verdict, case.effect) {
        (Verdict::DoNotRetry, _) => Event::GivenUp { attempt: case.attempt, fault },
        (Verdict::Retry, _) => again(fault, case),
        // A read changes nothing, so there is nothing to be in doubt about.
        (Verdict::DoNotRetryInDoubt, Effect::Read) => {
            Event::GivenUp { attempt: case.attempt, fault: Fault { verdict: Verdict::DoNotRetry, ..fault } }
        }
        (Verdict::DoNotRetryInDoubt, Effect::Idempotent | Effect::Lookup | Effect::Once) => {
            Event::GivenUp { attempt: case.attempt, fault }
        }
        (Verdict::Unknown, Effect::Read) => again(Fault { verdict: Verdict::Retry, ..fault }, case),
        (Verdict::Unknown, Effect::Idempotent | Effect::Lookup) => again(fault, case),
        (Verdict::Unknown, Effect::Once) => Event::OutcomeUnknown { attempt: case.attempt, fault },
    }
}

fn again(fault: Fault, case: Case<'_>) -> Event {
    if says_nothing_of_the_submission(&fault, case.is_halted) {
        return deferred(fault, case);
    }
    match case.schedule.wait_after(case.tries, fault.retry_after) {
        Some(wait) => {
            let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
            let is_nothing_done = fault.code == Code::AgencyFaultTransient && fault.verdict == Verdict::Retry;
            let wait = if is_nothing_done { wait.max(case.pause) } else { wait };
            let due_at = later(case.now, wait);
            Event::RetryPlanned { attempt: case.attempt, due_at, fault }
        }
        None => {
            let detail = format!("given up after {} tries; the last one: {}", case.tries, fault.detail);
            Event::GivenUp { attempt: case.attempt, fault: Fault { detail, ..fault } }
        }
    }
}

/// The agency is away, silent, or fails without a word about the request, or it lets nobody of this installation in: no number
/// of tries would say anything of the submission. Parking is for what a person can decide.
fn says_nothing_of_the_submission(fault: &Fault, is_halted: bool) -> bool {
    let is_of_all = is_halted && matches!(fault.code, Code::CredentialsRefused | Code::IdentityRefusedLate);
    fault.code.is_absence()
        || matches!(HealthSignal::of_fault(fault), HealthSignal::Failing { .. } | HealthSignal::Unreachable)
        || is_of_all
}

fn deferred(fault: Fault, case: Case<'_>) -> Event {
    let since = case.waiting_since.unwrap_or(case.now).min(case.now);
    let waited = Duration::try_from(case.now.duration_since(since)).unwrap_or_default();
    let own = case.schedule.wait_while_away(waited, None);
    let own = if fault.code.is_absence() { own.min(LONGEST_WAIT_FOR_AGENCY) } else { own };
    let wait = fault.retry_after.map_or(own, |asked| own.max(case.schedule.bounded(asked)));
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    let due_at = later(case.now, wait);
    Event::Deferred { attempt: case.attempt, due_at, since, fault }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventName, Refusal};
    use serde_json::json;
    use std::time::Duration;

    fn schedule() -> Schedule {
        let secs = Duration::from_secs;
        Schedule::new(secs(10), secs(100), 2.0, 0.0, 3, secs(1000)).unwrap()
    }

    fn event(outcome: Result<Reading, Fault>, effect: Effect, tries: u32) -> Event {
        let schedule = schedule();
        let now = Timestamp::UNIX_EPOCH;
        settle(
            outcome,
            Case {
                effect,
                attempt: 7,
                tries,
                schedule: &schedule,
                now,
                waiting_since: None,
                is_halted: false,
                pause: SignedDuration::from_secs(70),
            },
        )
    }

    fn fault(code: Code) -> Fault {
        Fault::new(code, Stage::Send, "somewhere")
    }

    #[test]
    fn after_sent_but_unknown_each_effect_goes_its_own_way() {
        for (code, again) in
            [(Code::NetworkReset, EventName::Deferred), (Code::AgencySoapServerFault, EventName::RetryPlanned)]
        {
            let after = |effect| event(Err(fault(code)), effect, 1).name();
            assert_eq!(after(Effect::Read), again);
            assert_eq!(after(Effect::Idempotent), again);
            assert_eq!(after(Effect::Lookup), again);
            assert_eq!(after(Effect::Once), EventName::OutcomeUnknown);
        }
    }

    #[test]
    fn a_read_leaves_no_doubt_and_a_write_does() {
        let verdict = |effect| match event(Err(fault(Code::NetworkTimeout)), effect, 1) {
            Event::Deferred { fault, .. } => fault.verdict,
            other => panic!("{other:?}"),
        };
        assert_eq!(verdict(Effect::Read), Verdict::Retry);
        assert_eq!(verdict(Effect::Idempotent), Verdict::Unknown);
        assert_eq!(verdict(Effect::Lookup), Verdict::Unknown);
    }

    #[test]
    fn what_was_certainly_not_sent_is_sent_again_whatever_the_effect() {
        for effect in Effect::ALL {
            // A hundred failures are no more than one.
            assert_eq!(event(Err(fault(Code::NetworkConnect)), effect, 100).name(), EventName::Deferred);
        }
    }

    #[test]
    fn what_would_fail_again_is_parked_at_once() {
        for effect in Effect::ALL {
            assert_eq!(event(Err(fault(Code::TemplateFailed)), effect, 1).name(), EventName::GivenUp);
        }
    }

    #[test]
    fn what_would_fail_again_by_an_unsigned_word_is_parked_at_once_and_in_doubt_but_for_reads() {
        for effect in Effect::ALL {
            match event(Err(fault(Code::AgencySoapClientFault)), effect, 1) {
                Event::GivenUp { fault, .. } => assert_eq!(fault.verdict.leaves_doubt(), effect != Effect::Read),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn tries_are_limited_and_retry_after_is_honoured() {
        let slow = fault(Code::AgencyFaultTransient).with_retry_after(Some(Duration::from_secs(500)));
        match event(Err(slow.clone()), Effect::Once, 1) {
            Event::RetryPlanned { due_at, attempt: 7, .. } => assert_eq!(due_at.as_second(), 500),
            other => panic!("{other:?}"),
        }
        match event(Err(slow), Effect::Once, 3) {
            Event::GivenUp { fault, .. } => assert!(fault.detail.contains("after 3 tries"), "{}", fault.detail),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_wait_for_an_agency_that_is_away_has_its_beginning_and_honours_what_the_agency_asks_for() {
        let schedule = schedule();
        let now = Timestamp::from_second(1000).unwrap();
        let since = Timestamp::from_second(900).unwrap();
        let case = Case {
            effect: Effect::Idempotent,
            attempt: 7,
            tries: 3,
            schedule: &schedule,
            now,
            waiting_since: Some(since),
            is_halted: false,
            pause: SignedDuration::ZERO,
        };
        let asked = fault(Code::AgencyUnavailable).with_retry_after(Some(Duration::from_secs(500)));
        match settle(Err(asked), case) {
            Event::Deferred { due_at, since: told, .. } => assert_eq!((due_at.as_second(), told), (1500, since)),
            other => panic!("{other:?}"),
        }
        match settle(Err(fault(Code::NetworkConnect)), case) {
            Event::Deferred { due_at, .. } => assert_eq!(due_at.as_second(), 1060),
            other => panic!("{other:?}"),
        }
        // What has reached it may be the reason: its wait grows as the schedule's do.
        match settle(Err(fault(Code::NetworkTimeout)), case) {
            Event::Deferred { due_at, .. } => assert_eq!(due_at.as_second(), 1080),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_an_agency_refuses_of_everybody_here_is_deferred_and_costs_no_try() {
        let schedule = schedule();
        let case = |is_halted| Case {
            effect: Effect::Read,
            attempt: 1,
            tries: 3,
            schedule: &schedule,
            now: Timestamp::UNIX_EPOCH,
            waiting_since: None,
            is_halted,
            pause: SignedDuration::ZERO,
        };
        for code in [Code::CredentialsRefused, Code::IdentityRefusedLate] {
            assert_eq!(settle(Err(fault(code)), case(true)).name(), EventName::Deferred, "{code}");
            assert_eq!(settle(Err(fault(code)), case(false)).name(), EventName::GivenUp, "{code}");
        }
        let of_the_request = fault(Code::AgencySoapServerFault);
        assert_eq!(settle(Err(of_the_request), case(true)).name(), EventName::GivenUp);
    }

    #[test]
    fn no_number_of_tries_gives_up_what_meets_silence_or_failure_without_a_word_about_it() {
        let speaks_of_health = [
            Code::NetworkTimeout,
            Code::NetworkReset,
            Code::NetworkTlsBroken,
            Code::AgencyServerError,
            Code::AgencyUnavailable,
            Code::AgencyRateLimited,
            Code::AgencyNoVerdict,
            Code::AgencyRedirect,
        ];
        for effect in [Effect::Read, Effect::Idempotent, Effect::Lookup] {
            for code in speaks_of_health {
                assert_eq!(event(Err(fault(code)), effect, 100).name(), EventName::Deferred, "{code}");
            }
            for code in [Code::AgencySoapServerFault, Code::AnswerMediaType, Code::AnswerNotXml, Code::Interrupted] {
                assert_eq!(event(Err(fault(code)), effect, 100).name(), EventName::GivenUp, "{code}");
            }
        }
        for code in speaks_of_health {
            assert_eq!(event(Err(fault(code)), Effect::Once, 1).name(), EventName::OutcomeUnknown, "{code}");
        }
    }

    #[test]
    fn after_nothing_was_done_the_next_try_comes_so_late_that_its_answer_is_known_to_be_younger() {
        let due = |outcome| match event(outcome, Effect::Once, 1) {
            Event::RetryPlanned { due_at, .. } => due_at.as_second(),
            other => panic!("{other:?}"),
        };
        assert_eq!(due(Ok(Reading::Failed { code: "c".into(), text: "t".into(), transient: true })), 70);
        let not_handled = Fault { verdict: Verdict::Retry, ..fault(Code::AgencySoapServerFault) };
        assert_eq!(due(Err(not_handled)), 10);
    }

    #[test]
    fn a_business_answer_ends_it() {
        let refusal = Refusal { code: "x".into(), text: "no".into() };
        let refused = Ok(Reading::Refused { refusal });
        assert_eq!(event(refused, Effect::Once, 1).name(), EventName::RefusedByAgency);
        let answered = Ok(Reading::Answered { answer: json!({}) });
        assert_eq!(event(answered, Effect::Once, 1).name(), EventName::Answered);
        let failed = |transient| Ok(Reading::Failed { code: "c".into(), text: "t".into(), transient });
        assert_eq!(event(failed(true), Effect::Once, 1).name(), EventName::RetryPlanned);
        assert_eq!(event(failed(false), Effect::Once, 1).name(), EventName::GivenUp);
    }
}
