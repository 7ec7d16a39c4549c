//! Ask: an attempt whose earlier ones may have had an effect comes in; the agency is asked by our reference, and only what
//! it has certainly never seen is sent again.

use super::{
    Road, Sealed,
    begin::later,
    exchange::{Ending, Outcome, Turn},
};
use crate::{
    adapter::Reading,
    crash::{self, Point},
    domain::{Attempt, AttemptOutcome, Code, Fault, Stage, Verdict},
    journal::JournalError,
};
use jiff::{SignedDuration, Timestamp};

impl Road {
    pub(super) async fn ask_then_send(&self, turn: &Turn<'_>, lookup: Sealed) -> Result<Outcome, JournalError> {
        let asked = self.exchange(turn, lookup, true).await;
        let reading = match asked.ending {
            Ending::Read(Ok(Reading::NotSeen)) => {
                let settled_at = self.settled_at(turn).await?;
                let now = self.clock.now();
                // One more exchange from now is enough by any clock; by one that was set forward nothing less is.
                let latest =
                    later(now, SignedDuration::try_from(turn.operation.timeout).unwrap_or(SignedDuration::MAX));
                let is_jump_recent = self.steady.was_set_forward_within(turn.operation.timeout, now);
                let settled_at = if is_jump_recent { latest } else { settled_at.min(latest) };
                if now < settled_at {
                    return Ok(Outcome { ending: Ending::TooEarly(settled_at), ..asked });
                }
                crash::here(Point::WorkerAsked);
                match self.prepare(turn.record, turn.line, false).await {
                    Ok(sealed) => return Ok(self.exchange(turn, sealed, false).await),
                    Err(fault) => Err(fault),
                }
            }
            Ending::Read(Ok(Reading::Unmapped | Reading::Failed { .. })) => {
                Err(Fault::new(Code::AgencyLookupUnclear, Stage::Read, "the lookup gave no clear answer"))
            }
            // Not having been able to ask leaves the doubt as it was.
            Ending::Read(Err(fault)) => Err(Fault { verdict: Verdict::Unknown, ..fault }),
            ending => return Ok(Outcome { ending, ..asked }),
        };
        Ok(Outcome { ending: Ending::Read(reading), ..asked })
    }

    /// When the agency is through with all that was sent before: it gets as long again as an exchange may take. That our
    /// side has ended, be it by a timeout, a reset or a crash, ends nothing on its side.
    async fn settled_at(&self, turn: &Turn<'_>) -> Result<Timestamp, JournalError> {
        let before = self.patiently(|| self.journal.attempts(turn.record.submission.id)).await?;
        let left_in_doubt = |attempt: &Attempt| match &attempt.outcome {
            Some(AttemptOutcome::Failed { fault }) if fault.verdict == Verdict::Unknown => attempt.ended_at,
            _ => None,
        };
        let timeout = SignedDuration::try_from(turn.operation.timeout).unwrap_or(SignedDuration::MAX);
        let last = before.iter().filter_map(left_in_doubt).max();
        Ok(last.map_or(Timestamp::MIN, |ended_at| later(ended_at, timeout)))
    }
}
