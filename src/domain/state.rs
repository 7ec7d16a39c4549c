//! Where a submission stands: its state with what belongs to it, and what the attempts so far have left behind.

use super::{Effect, Fault};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A state and its data. The tag is the state's public name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// In the journal; the broker has not confirmed it yet.
    Accepted,
    /// The broker has confirmed it.
    Queued,
    /// A worker has it. After `lease_until` that worker is taken for dead.
    Sending {
        attempt: u32,
        lease_until: Timestamp,
    },
    /// The agency did it.
    Completed {
        /// `None`: it was erased, or an operator has found out that the agency did it, and nobody here has its answer.
        answer: Option<Answer>,
    },
    /// The agency said no: a business answer.
    Refused {
        refusal: Refusal,
    },
    /// The agency works on it and will answer later.
    Waiting {
        since: Timestamp,
    },
    /// Another try is due at a time.
    Retrying {
        due_at: Timestamp,
        fault: Fault,
    },
    /// Given up for now: an operator decides.
    Parked {
        fault: Fault,
    },
    /// Sent, outcome unknown, never re-sent by machine: an operator decides.
    Uncertain {
        fault: Fault,
    },
    /// The deadline passed and the agency has certainly not acted.
    Expired {
        fault: Fault,
    },
    Cancelled {
        by: String,
    },
}

/// An agency's answer in the standard form, valid against the service's answer schema.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Answer(pub serde_json::Value);

/// An agency's no, in its own words and code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: String,
    pub text: String,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer(..)")
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").field("code", &self.code).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateName {
    Accepted,
    Queued,
    Sending,
    Completed,
    Refused,
    Waiting,
    Retrying,
    Parked,
    Uncertain,
    Expired,
    Cancelled,
}

impl StateName {
    pub const ALL: [StateName; 11] = [
        StateName::Accepted,
        StateName::Queued,
        StateName::Sending,
        StateName::Completed,
        StateName::Refused,
        StateName::Waiting,
        StateName::Retrying,
        StateName::Parked,
        StateName::Uncertain,
        StateName::Expired,
        StateName::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            StateName::Accepted => "accepted",
            StateName::Queued => "queued",
            StateName::Sending => "sending",
            StateName::Completed => "completed",
            StateName::Refused => "refused",
            StateName::Waiting => "waiting",
            StateName::Retrying => "retrying",
            StateName::Parked => "parked",
            StateName::Uncertain => "uncertain",
            StateName::Expired => "expired",
            StateName::Cancelled => "cancelled",
        }
    }

    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    /// Nothing more happens to it, unless an operator has it done again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Refused | Self::Expired | Self::Cancelled)
    }

    /// The machine has stopped: it has ended, or it waits for an operator. Offices are told of these.
    pub fn is_settled(self) -> bool {
        self.is_terminal() || matches!(self, Self::Parked | Self::Uncertain)
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl State {
    pub fn name(&self) -> StateName {
        match self {
            State::Accepted => StateName::Accepted,
            State::Queued => StateName::Queued,
            State::Sending { .. } => StateName::Sending,
            State::Completed { .. } => StateName::Completed,
            State::Refused { .. } => StateName::Refused,
            State::Waiting { .. } => StateName::Waiting,
            State::Retrying { .. } => StateName::Retrying,
            State::Parked { .. } => StateName::Parked,
            State::Uncertain { .. } => StateName::Uncertain,
            State::Expired { .. } => StateName::Expired,
            State::Cancelled { .. } => StateName::Cancelled,
        }
    }

    pub fn fault(&self) -> Option<&Fault> {
        match self {
            State::Retrying { fault, .. }
            | State::Parked { fault }
            | State::Uncertain { fault }
            | State::Expired { fault } => Some(fault),
            _ => None,
        }
    }

    /// When the scheduler has to look at it again, apart from its deadline.
    pub fn due_at(&self) -> Option<Timestamp> {
        match self {
            State::Sending { lease_until, .. } => Some(*lease_until),
            State::Retrying { due_at, .. } => Some(*due_at),
            _ => None,
        }
    }
}

/// All that changes during a submission's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub state: State,
    /// How many attempts have been begun. Attempts are numbered from 1.
    pub attempts: u32,
    /// How many attempts count against the schedule: an operator's replay begins anew at 0.
    pub tries: u32,
    /// Some attempt may have had an effect that nobody has seen.
    pub in_doubt: bool,
    /// Since when it waits for an agency that is away; `None` once something was heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Timestamp>,
}

impl Progress {
    pub fn accepted() -> Self {
        Self { state: State::Accepted, attempts: 0, tries: 0, in_doubt: false, waiting_since: None }
    }

    /// What its office has to know of it: it waits for an operator, or was given up, and the agency may have done it.
    pub fn may_have_happened(&self, effect: Effect) -> bool {
        let is_left = matches!(self.state.name(), StateName::Parked | StateName::Uncertain | StateName::Cancelled);
        is_left && self.in_doubt && effect != Effect::Read
    }

    /// Nobody knows whether the agency has acted, but it can be asked, and is asked before anything is sent again.
    pub fn is_to_be_asked_about(&self, effect: Effect) -> bool {
        effect == Effect::Lookup && self.in_doubt
    }

    /// Nobody knows whether the agency has acted, and it would not recognise the repeat.
    pub fn would_act_twice(&self, effect: Effect) -> bool {
        effect == Effect::Once && self.in_doubt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_numbers_keep_their_digits_in_the_journal() {
        let answer = r#"{"n":[12345678901234567890123,1.10,-0,0.12345678901234567891,1e+400,7],"o":{"m":100.00}}"#;
        let state = State::Completed { answer: Some(Answer(serde_json::from_str(answer).unwrap())) };
        let written = serde_json::to_string(&state).unwrap();
        assert_eq!(written, format!(r#"{{"state":"completed","answer":{answer}}}"#));
        let read: State = serde_json::from_str(&written).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), written);
        assert_eq!(read, state);
    }
}
