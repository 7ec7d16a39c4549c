//! Earlier replies: what has come of a submission so far comes in; until when anybody may have signed a word about its
//! reference goes out.
//!
//! The agency may say truthfully, and signed, that it has done nothing, and act on the next attempt. Whoever stands in its
//! place and has no key may keep that word and give it in the place of the next answer.

use super::AgencyConnection;
use crate::{
    adapter::Operation,
    domain::{Attempt, AttemptOutcome, Effect, Progress, Stage, Verdict, later},
    trust::{AnswerKind, Seal},
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Until when something may have been signed about our reference, before the message that is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlierReplies {
    /// The agency cannot have heard of it.
    Nothing,
    /// By our clock.
    Until(Timestamp),
    /// Nobody knows until when.
    Unknown,
}

/// What a time that is written in whole seconds may lack, and what a message takes to arrive.
const PAUSE_MARGIN: SignedDuration = SignedDuration::from_secs(2);

impl EarlierReplies {
    /// Whether what was signed then, by a clock that goes wrong by this at most, is younger.
    pub fn is_over_before(self, signed_at: Option<Timestamp>, max_skew: SignedDuration) -> bool {
        match self {
            EarlierReplies::Nothing => true,
            EarlierReplies::Until(end) => signed_at.is_some_and(|at| at.duration_since(end) > max_skew),
            EarlierReplies::Unknown => false,
        }
    }

    /// Of attempts that have ended. What was left in doubt may reach the agency for as long again as an exchange takes.
    /// `unknown`: until when something may have left that the journal does not know of.
    pub fn of(progress: &Progress, attempts: &[Attempt], timeout: Duration, unknown: Option<Timestamp>) -> Self {
        let timeout = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
        let reached = attempts.iter().filter(|it| it.number <= progress.attempts && may_have_reached(it));
        let ends: Option<Vec<_>> = reached.map(|it| Some((it.ended_at?, leaves_doubt(it)))).collect();
        let Some(ends) = ends else { return EarlierReplies::Unknown };
        let is_explained = !progress.in_doubt || unknown.is_some() || ends.iter().any(|(_, in_doubt)| *in_doubt);
        if !is_explained {
            return EarlierReplies::Unknown;
        }
        let ends = ends.into_iter().map(|(at, in_doubt)| if in_doubt { later(at, timeout) } else { at });
        let unknown = unknown.filter(|_| progress.in_doubt).map(|at| later(at, timeout));
        ends.chain(unknown).max().map_or(EarlierReplies::Nothing, EarlierReplies::Until)
    }
}

fn may_have_reached(attempt: &Attempt) -> bool {
    match &attempt.outcome {
        Some(AttemptOutcome::Failed { fault }) => match fault.stage {
            Stage::Accept | Stage::Queue | Stage::Transform | Stage::Seal => false,
            Stage::Send => fault.verdict != Verdict::Retry,
            Stage::Read | Stage::Settle | Stage::Reply => true,
        },
        // A question may have been asked before it was put back.
        Some(AttemptOutcome::PutBack) => attempt.wire.as_ref().is_none_or(|wire| !wire.sent.is_empty()),
        Some(AttemptOutcome::Answered | AttemptOutcome::Refused { .. } | AttemptOutcome::Waiting) | None => true,
    }
}

fn leaves_doubt(attempt: &Attempt) -> bool {
    match &attempt.outcome {
        Some(AttemptOutcome::Failed { fault }) => fault.verdict.leaves_doubt(),
        Some(AttemptOutcome::Waiting) | None => true,
        Some(AttemptOutcome::Answered | AttemptOutcome::Refused { .. } | AttemptOutcome::PutBack) => false,
    }
}

/// As long a pause that what the agency signs afterwards is known to be younger than what it has signed before. It is made
/// after a certain "nothing was done" where the next such word would otherwise leave something to an operator.
pub(super) fn pause_after_nothing_done(
    connection: &AgencyConnection,
    operation: &Operation,
    effect: Effect,
) -> SignedDuration {
    match effect {
        Effect::Read | Effect::Idempotent | Effect::Lookup => return SignedDuration::ZERO,
        Effect::Once => {}
    }
    let policy = connection.answer_policy();
    let tells_time = matches!(policy.kind, AnswerKind::Wss | AnswerKind::HttpSignature { .. });
    let is_bound = operation.request.binds_to_message(matches!(connection.seal, Seal::Wss(_)));
    if tells_time && !is_bound { policy.max_clock_skew * 2 + PAUSE_MARGIN } else { SignedDuration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Code, Fault, SubmissionId, WireRecord};

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn attempt(number: u32, ended: Option<i64>, outcome: Option<AttemptOutcome>) -> Attempt {
        let (submission, begun_at) = (SubmissionId::new(), Timestamp::UNIX_EPOCH);
        Attempt { submission, number, begun_at, ended_at: ended.map(at), outcome, wire: Some(WireRecord::default()) }
    }

    fn failed(number: u32, ended: i64, code: Code, stage: Stage) -> Attempt {
        attempt(number, Some(ended), Some(AttemptOutcome::Failed { fault: Fault::new(code, stage, "") }))
    }

    fn earlier(attempts: &[Attempt], in_doubt: bool, unknown: Option<i64>) -> EarlierReplies {
        let progress = Progress { attempts: 9, in_doubt, ..Progress::accepted() };
        EarlierReplies::of(&progress, attempts, TIMEOUT, unknown.map(at))
    }

    #[test]
    fn what_never_left_leaves_no_word() {
        let unsent = [
            failed(1, 100, Code::NetworkConnect, Stage::Send),
            failed(2, 200, Code::IdentityUnusable, Stage::Seal),
            attempt(3, Some(300), Some(AttemptOutcome::PutBack)),
            // The one that is under way.
            attempt(10, None, None),
        ];
        assert_eq!(earlier(&unsent, false, Some(900)), EarlierReplies::Nothing);
    }

    #[test]
    fn a_word_may_be_as_young_as_the_last_attempt_that_may_have_reached_the_agency() {
        let busy = failed(1, 100, Code::AgencyFaultTransient, Stage::Read);
        assert_eq!(earlier(std::slice::from_ref(&busy), false, None), EarlierReplies::Until(at(100)));
        let silent = failed(2, 200, Code::NetworkTimeout, Stage::Send);
        let refused = failed(3, 210, Code::NetworkConnect, Stage::Send);
        assert_eq!(earlier(&[busy.clone(), silent.clone(), refused], true, None), EarlierReplies::Until(at(260)));
        assert_eq!(earlier(&[busy.clone(), silent], true, Some(900)), EarlierReplies::Until(at(960)));
        let asked = Attempt { wire: None, ..attempt(2, Some(150), Some(AttemptOutcome::PutBack)) };
        assert_eq!(earlier(&[busy.clone(), asked], false, None), EarlierReplies::Until(at(150)));
        // A doubt that no attempt explains is older than this journal.
        assert_eq!(earlier(std::slice::from_ref(&busy), true, None), EarlierReplies::Unknown);
        assert_eq!(earlier(&[busy, attempt(2, None, None)], true, None), EarlierReplies::Unknown);
    }
}
