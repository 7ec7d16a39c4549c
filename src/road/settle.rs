//! Settle: what an attempt came to comes in, the event that the journal must record goes out.
//!
//! This is the one place that decides whether to try again.

use crate::{
    adapter::Reading,
    domain::{Answer, Code, Effect, Event, Fault, Schedule, Stage, Verdict},
};
use jiff::{SignedDuration, Timestamp};

/// What the decision depends on, beside the outcome.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    pub effect: Effect,
    pub attempt: u32,
    /// Tries that count against the schedule, this one included.
    pub tries: u32,
    pub schedule: &'a Schedule,
    pub now: Timestamp,
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
    match case.schedule.wait_after(case.tries, fault.retry_after) {
        Some(wait) => {
            let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
            let due_at = case.now.saturating_add(wait).unwrap_or(Timestamp::MAX);
            Event::RetryPlanned { attempt: case.attempt, due_at, fault }
        }
        None => {
            let detail = format!("given up after {} tries; the last one: {}", case.tries, fault.detail);
            Event::GivenUp { attempt: case.attempt, fault: Fault { detail, ..fault } }
        }
    }
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
        settle(outcome, Case { effect, attempt: 7, tries, schedule: &schedule, now: Timestamp::UNIX_EPOCH })
    }

    fn fault(code: Code) -> Fault {
        Fault::new(code, Stage::Send, "somewhere")
    }

    #[test]
    fn after_sent_but_unknown_each_effect_goes_its_own_way() {
        let after = |effect| event(Err(fault(Code::NetworkReset)), effect, 1).name();
        assert_eq!(after(Effect::Read), EventName::RetryPlanned);
        assert_eq!(after(Effect::Idempotent), EventName::RetryPlanned);
        assert_eq!(after(Effect::Lookup), EventName::RetryPlanned);
        assert_eq!(after(Effect::Once), EventName::OutcomeUnknown);
    }

    #[test]
    fn a_read_leaves_no_doubt_and_a_write_does() {
        let verdict = |effect| match event(Err(fault(Code::NetworkTimeout)), effect, 1) {
            Event::RetryPlanned { fault, .. } => fault.verdict,
            other => panic!("{other:?}"),
        };
        assert_eq!(verdict(Effect::Read), Verdict::Retry);
        assert_eq!(verdict(Effect::Idempotent), Verdict::Unknown);
        assert_eq!(verdict(Effect::Lookup), Verdict::Unknown);
    }

    #[test]
    fn what_was_certainly_not_sent_is_sent_again_whatever_the_effect() {
        for effect in Effect::ALL {
            assert_eq!(event(Err(fault(Code::NetworkConnect)), effect, 1).name(), EventName::RetryPlanned);
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
        let slow = fault(Code::AgencyUnavailable).with_retry_after(Some(Duration::from_secs(500)));
        let slow = Fault { verdict: Verdict::Retry, ..slow };
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
