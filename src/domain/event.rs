//! What can happen to a submission: each event, its name, who is behind it, and how the timeline tells it.

use super::{Actor, Answer, Fault, OfficeName, Refusal, State, StateName};
use jiff::Timestamp;
use std::fmt;

/// What happened to a submission.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The broker confirmed the message.
    Published,
    /// A worker took it and begins attempt number `attempt`. `asks_first`: before it sends, it asks the agency by our
    /// reference what has become of the earlier ones.
    Begun { attempt: u32, lease_until: Timestamp, asks_first: bool },
    /// The agency did it.
    Answered { attempt: u32, answer: Answer },
    /// The agency said no.
    RefusedByAgency { attempt: u32, refusal: Refusal },
    /// The agency took it and will answer later.
    TakenByAgency { attempt: u32, at: Timestamp },
    /// The attempt failed and another one is due.
    RetryPlanned { attempt: u32, due_at: Timestamp, fault: Fault },
    /// The agency is away or takes nothing now, which says nothing of the submission: the attempt counts as none, and the
    /// submission waits for the agency. `since`: when this wait began.
    Deferred { attempt: u32, due_at: Timestamp, since: Timestamp, fault: Fault },
    /// The same without an attempt: it is known already that the agency is away.
    HeldBack { due_at: Timestamp, since: Timestamp, fault: Fault },
    /// The same, and its message stays in the queue: another worker may be let in where this one is not.
    KeptWaiting { since: Timestamp, fault: Fault },
    /// The attempt failed and the machine gives up.
    GivenUp { attempt: u32, fault: Fault },
    /// The attempt was sent, its outcome cannot be found out, and it must not be repeated.
    OutcomeUnknown { attempt: u32, fault: Fault },
    /// Before anything was sent, the attempt was put back: it does not count.
    PutBack { attempt: u32 },
    /// The process that had the attempt under way has ended: its lease does not have to be waited for.
    LeaseVoided { attempt: u32, at: Timestamp },
    /// The message must be published (again): a retry is due, or the broker has lost it.
    Requeued,
    /// A worker has the message and begins nothing, because it cannot send now or stops: the message must be published again.
    GivenBack,
    /// The message killed its workers, or names something that is gone, before any attempt was begun.
    Parked { fault: Fault },
    /// The deadline passed.
    DeadlinePassed,
    /// The office took it back.
    CancelledByOffice { by: OfficeName },
    /// An operator has it done again. `accepts_repeat`: the number of the last attempt that was seen, if the operator
    /// accepts that what it may have done is done twice.
    Replayed { by: String, accepts_repeat: Option<u32> },
    /// An operator has decided about what may have been done. `seen`: the number of the last attempt that was seen.
    Resolved { by: String, seen: u32, finding: Finding },
    /// An operator ends it.
    Discarded { by: String },
    /// The journal was restored from an earlier state: whatever was open then may have been sent since.
    Restored { by: String },
}

/// What an operator has found out about an attempt whose outcome nobody knew.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// The agency has done it. Its answer, if the operator has got it.
    Happened { answer: Option<Answer> },
    /// The agency has not done it and will not: it may be sent again.
    DidNotHappen,
    /// Nothing yet: the agency is to be asked once more.
    AskAgain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventName {
    Published,
    Begun,
    Answered,
    RefusedByAgency,
    TakenByAgency,
    RetryPlanned,
    Deferred,
    HeldBack,
    KeptWaiting,
    GivenUp,
    OutcomeUnknown,
    PutBack,
    LeaseVoided,
    Requeued,
    GivenBack,
    Parked,
    DeadlinePassed,
    CancelledByOffice,
    Replayed,
    Resolved,
    Discarded,
    Restored,
}

impl fmt::Display for EventName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            EventName::Published => "publishing it",
            EventName::Begun => "beginning an attempt",
            EventName::Answered => "an answer",
            EventName::RefusedByAgency => "a refusal by the agency",
            EventName::TakenByAgency => "the agency's acknowledgement",
            EventName::RetryPlanned => "planning another try",
            EventName::Deferred | EventName::HeldBack | EventName::KeptWaiting => "waiting for the agency",
            EventName::GivenUp => "giving up",
            EventName::OutcomeUnknown => "an unknown outcome",
            EventName::PutBack => "putting an attempt back",
            EventName::LeaseVoided => "ending the lease of a process that has ended",
            EventName::GivenBack => "giving it back unsent",
            EventName::Requeued => "queueing it again",
            EventName::Parked => "parking it",
            EventName::DeadlinePassed => "its deadline",
            EventName::CancelledByOffice => "cancelling it",
            EventName::Replayed => "replaying it",
            EventName::Resolved => "deciding what has become of it",
            EventName::Discarded => "discarding it",
            EventName::Restored => "marking it as restored",
        })
    }
}

impl EventName {
    pub const ALL: [EventName; 22] = [
        EventName::Published,
        EventName::Begun,
        EventName::Answered,
        EventName::RefusedByAgency,
        EventName::TakenByAgency,
        EventName::RetryPlanned,
        EventName::Deferred,
        EventName::HeldBack,
        EventName::KeptWaiting,
        EventName::GivenUp,
        EventName::OutcomeUnknown,
        EventName::PutBack,
        EventName::LeaseVoided,
        EventName::Requeued,
        EventName::GivenBack,
        EventName::Parked,
        EventName::DeadlinePassed,
        EventName::CancelledByOffice,
        EventName::Replayed,
        EventName::Resolved,
        EventName::Discarded,
        EventName::Restored,
    ];
}

impl Event {
    pub fn name(&self) -> EventName {
        match self {
            Event::Published => EventName::Published,
            Event::Begun { .. } => EventName::Begun,
            Event::Answered { .. } => EventName::Answered,
            Event::RefusedByAgency { .. } => EventName::RefusedByAgency,
            Event::TakenByAgency { .. } => EventName::TakenByAgency,
            Event::RetryPlanned { .. } => EventName::RetryPlanned,
            Event::Deferred { .. } => EventName::Deferred,
            Event::HeldBack { .. } => EventName::HeldBack,
            Event::KeptWaiting { .. } => EventName::KeptWaiting,
            Event::GivenUp { .. } => EventName::GivenUp,
            Event::OutcomeUnknown { .. } => EventName::OutcomeUnknown,
            Event::PutBack { .. } => EventName::PutBack,
            Event::LeaseVoided { .. } => EventName::LeaseVoided,
            Event::Requeued => EventName::Requeued,
            Event::GivenBack => EventName::GivenBack,
            Event::Parked { .. } => EventName::Parked,
            Event::DeadlinePassed => EventName::DeadlinePassed,
            Event::CancelledByOffice { .. } => EventName::CancelledByOffice,
            Event::Replayed { .. } => EventName::Replayed,
            Event::Resolved { .. } => EventName::Resolved,
            Event::Discarded { .. } => EventName::Discarded,
            Event::Restored { .. } => EventName::Restored,
        }
    }

    /// Who is behind the change, for the timeline.
    pub fn actor(&self) -> Actor {
        match self {
            Event::CancelledByOffice { by } => Actor::Office(by.clone()),
            Event::Replayed { by, .. }
            | Event::Resolved { by, .. }
            | Event::Discarded { by }
            | Event::Restored { by } => Actor::Operator(by.clone()),
            Event::Published
            | Event::Begun { .. }
            | Event::Answered { .. }
            | Event::RefusedByAgency { .. }
            | Event::TakenByAgency { .. }
            | Event::RetryPlanned { .. }
            | Event::Deferred { .. }
            | Event::HeldBack { .. }
            | Event::KeptWaiting { .. }
            | Event::GivenUp { .. }
            | Event::OutcomeUnknown { .. }
            | Event::PutBack { .. }
            | Event::LeaseVoided { .. }
            | Event::Requeued
            | Event::GivenBack
            | Event::Parked { .. }
            | Event::DeadlinePassed => Actor::Machine,
        }
    }

    /// The fault or person behind the change, for the timeline. `after`: the state that it has led to.
    pub fn cause(&self, after: &State) -> String {
        match self {
            Event::RetryPlanned { fault, .. }
            | Event::GivenUp { fault, .. }
            | Event::OutcomeUnknown { fault, .. }
            | Event::Parked { fault } => fault.code.as_str().to_owned(),
            Event::DeadlinePassed => after.fault().map(|fault| fault.code.as_str()).unwrap_or_default().to_owned(),
            Event::Deferred { since, fault, .. }
            | Event::HeldBack { since, fault, .. }
            | Event::KeptWaiting { since, fault } => {
                format!("{}: waiting for the agency since {}", fault.code, since.strftime("%Y-%m-%dT%H:%M:%SZ"))
            }
            Event::RefusedByAgency { refusal, .. } => format!("agency.refused: {}", refusal.code),
            Event::CancelledByOffice { by } => format!("cancelled by {by}"),
            Event::Discarded { by } => format!("discarded by {by}"),
            Event::Published => "published".into(),
            Event::Begun { attempt, .. } => format!("attempt {attempt}"),
            Event::Answered { .. } => "answered".into(),
            Event::TakenByAgency { .. } => "taken by the agency".into(),
            Event::PutBack { .. } => "put back unsent".into(),
            Event::LeaseVoided { .. } => "its process has ended".into(),
            Event::Requeued => "requeued".into(),
            Event::GivenBack => "given back before an attempt".into(),
            Event::Replayed { by, accepts_repeat: None } => format!("replayed by {by}"),
            Event::Replayed { by, accepts_repeat: Some(attempt) } => {
                format!("replayed although attempt {attempt} may repeat, by {by}")
            }
            Event::Resolved { by, finding: Finding::Happened { answer: Some(_) }, .. } => {
                format!("found to have happened, with its answer, by {by}")
            }
            Event::Resolved { by, finding: Finding::Happened { answer: None }, .. } => {
                format!("found to have happened, by {by}")
            }
            Event::Resolved { by, finding: Finding::DidNotHappen, .. } => {
                format!("found not to have happened, by {by}")
            }
            Event::Resolved { by, finding: Finding::AskAgain, .. } => format!("to be asked about again, by {by}"),
            Event::Restored { by } => format!("journal restored, by {by}"),
        }
    }
}

/// One line of a submission's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub at: Timestamp,
    pub from: Option<StateName>,
    pub to: StateName,
    pub cause: String,
    /// `None`: it was recorded by a program that did not write this down.
    pub by: Option<Actor>,
}
