//! Expire: a submission whose deadline has passed comes in; it has ended, or waits for an operator if the agency may have
//! acted on it.

use super::Submissions;
use crate::{
    domain::{Code, Effect, Event, Fault, Progress, Stage, State, SubmissionId, Verdict},
    journal::JournalError,
};

impl Submissions {
    /// `as_seen`: where it stood when it was found to be over its time. The journal looks again.
    pub async fn expire(&self, id: SubmissionId, as_seen: &Progress, effect: Effect) -> Result<Progress, JournalError> {
        self.happened(id, Event::DeadlinePassed { fault: deadline_fault(as_seen, effect) }).await
    }
}

/// Whether somebody may have acted on it decides how it is called.
pub fn deadline_fault(progress: &Progress, effect: Effect) -> Fault {
    let last = progress.state.fault().map_or_else(String::new, |fault| format!("; the last fault was {fault}"));
    let is_taken = matches!(progress.state, State::Waiting { .. });
    if is_taken || (progress.in_doubt && effect != Effect::Read) {
        let what = if is_taken {
            "the agency has taken it and not answered"
        } else {
            "an earlier attempt's outcome is unknown"
        };
        let detail = format!("{what}{last}");
        return Fault { verdict: Verdict::Unknown, ..Fault::new(Code::DeadlineInDoubt, Stage::Settle, detail) };
    }
    Fault::new(Code::DeadlinePassed, Stage::Settle, format!("in state {}{last}", progress.state.name()))
}
