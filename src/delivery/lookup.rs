//! Lookup: an attempt's earlier ones may have had an effect, and the agency was asked about them by our reference. What it
//! said comes in; whether the submission may be sent goes out: only what the agency has certainly never seen is sent again.

use crate::{
    adapter::Reading,
    domain::{Attempt, AttemptOutcome, Code, Fault, Stage, Verdict, later},
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// What asking the agency came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// It has certainly not seen our reference and will not see it any more: it may be sent.
    NeverSeen,
    /// It has not seen it, but until then an earlier attempt may still be on its way.
    TooEarly(Timestamp),
    /// This is the attempt's outcome.
    Told(Result<Reading, Fault>),
}

/// "Not seen" speaks of the moment at which it was asked: the agency may have acted while its answer was on its way.
pub fn after_asking(reading: Result<Reading, Fault>, asked_at: Timestamp, settled_at: Timestamp) -> Asked {
    match reading {
        Ok(Reading::NotSeen) if asked_at < settled_at => Asked::TooEarly(settled_at),
        Ok(Reading::NotSeen) => Asked::NeverSeen,
        Ok(Reading::Unmapped | Reading::Failed { .. }) => {
            Asked::Told(Err(Fault::new(Code::AgencyLookupUnclear, Stage::Read, "the lookup gave no clear answer")))
        }
        // Not having been able to ask leaves the doubt as it was.
        Err(fault) => Asked::Told(Err(Fault { verdict: Verdict::Unknown, ..fault })),
        Ok(told) => Asked::Told(Ok(told)),
    }
}

/// When the agency is through with these attempts.
pub fn settled_at(attempts: &[Attempt], timeout: Duration) -> Timestamp {
    let left_in_doubt = |attempt: &Attempt| match &attempt.outcome {
        Some(AttemptOutcome::Failed { fault }) if fault.verdict.leaves_doubt() => attempt.ended_at,
        _ => None,
    };
    let timeout = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
    let last = attempts.iter().filter_map(left_in_doubt).max();
    last.map_or(Timestamp::MIN, |ended_at| later(ended_at, timeout))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SubmissionId;

    fn ended(seconds: i64, code: Code) -> Attempt {
        let fault = Fault::new(code, Stage::Send, "");
        Attempt {
            submission: SubmissionId::new(),
            number: 1,
            begun_at: Timestamp::UNIX_EPOCH,
            ended_at: Timestamp::from_second(seconds).ok(),
            outcome: Some(AttemptOutcome::Failed { fault }),
            wire: None,
        }
    }

    #[test]
    fn the_agency_gets_an_exchanges_time_after_the_last_attempt_that_is_in_doubt() {
        let at = settled_at(
            &[ended(100, Code::NetworkTimeout), ended(200, Code::NetworkReset), ended(300, Code::NetworkConnect)],
            Duration::from_secs(60),
        );
        assert_eq!(at.as_second(), 260);
        let after = |asked_at| after_asking(Ok(Reading::NotSeen), Timestamp::from_second(asked_at).unwrap(), at);
        assert_eq!(after(259), Asked::TooEarly(at));
        assert_eq!(after(260), Asked::NeverSeen);
    }

    #[test]
    fn whatever_else_comes_of_asking_leaves_the_doubt_or_ends_it() {
        let unclear = Reading::Failed { code: "x".into(), text: "y".into(), transient: true };
        for outcome in [Ok(Reading::Unmapped), Ok(unclear), Err(Fault::new(Code::NetworkConnect, Stage::Send, ""))] {
            match after_asking(outcome, Timestamp::MAX, Timestamp::MIN) {
                Asked::Told(Err(fault)) => assert_eq!(fault.verdict, Verdict::Unknown),
                other => panic!("{other:?}"),
            }
        }
        let waiting = Ok(Reading::Waiting);
        assert_eq!(after_asking(waiting.clone(), Timestamp::MAX, Timestamp::MIN), Asked::Told(waiting));
    }
}
