//! What a change of state means for the rows beside a submission: an event and two progresses come in, row changes go out.

use crate::domain::{AttemptOutcome, Event, Progress, State, StateName};

/// Changes to other tables that belong in the same transaction as a change of state.
#[derive(Debug, Clone, PartialEq)]
pub struct SideRows {
    /// Add an outbox row (`true`), remove it (`false`), or leave it.
    pub outbox: Option<bool>,
    /// Note that it waits for its agency to be there again (`true`), forget that (`false`), or leave it.
    pub waiting: Option<bool>,
    /// Begin the attempt with this number.
    pub begun: Option<u32>,
    /// End the attempt with this number.
    pub ended: Option<(u32, AttemptOutcome)>,
    /// Tell the office, if it asked for it.
    pub notice: Option<StateName>,
}

impl SideRows {
    pub fn of(before: &Progress, event: &Event, after: &Progress) -> Self {
        let (from, to) = (before.state.name(), after.state.name());
        let begun = match event {
            Event::Begun { attempt, .. } => Some(*attempt),
            _ => None,
        };
        Self {
            outbox: match to {
                StateName::Accepted => Some(true),
                _ if from == StateName::Accepted => Some(false),
                _ => None,
            },
            waiting: match waits_for_agency(after) {
                true => Some(true),
                false if waits_for_agency(before) => Some(false),
                false => None,
            },
            begun,
            ended: ended(event).or_else(|| ended_by_restore(before, after)),
            notice: (to.is_settled() && to != from).then_some(to),
        }
    }
}

/// It waits because the agency was away, and not for a time that the agency itself has named.
pub(super) fn waits_for_agency(progress: &Progress) -> bool {
    match &progress.state {
        State::Retrying { fault, .. } => progress.waiting_since.is_some() && fault.retry_after.is_none(),
        _ => false,
    }
}

/// What was being sent in the earlier state is no longer waited for.
fn ended_by_restore(before: &Progress, after: &Progress) -> Option<(u32, AttemptOutcome)> {
    match (&before.state, &after.state) {
        (State::Sending { attempt, .. }, State::Uncertain { fault }) => {
            Some((*attempt, AttemptOutcome::Failed { fault: fault.clone() }))
        }
        _ => None,
    }
}

pub(super) fn ended(event: &Event) -> Option<(u32, AttemptOutcome)> {
    Some(match event {
        Event::Answered { attempt, .. } => (*attempt, AttemptOutcome::Answered),
        Event::RefusedByAgency { attempt, refusal } => {
            (*attempt, AttemptOutcome::Refused { code: refusal.code.clone() })
        }
        Event::TakenByAgency { attempt, .. } => (*attempt, AttemptOutcome::Waiting),
        Event::PutBack { attempt } => (*attempt, AttemptOutcome::PutBack),
        Event::RetryPlanned { attempt, fault, .. }
        | Event::Deferred { attempt, fault, .. }
        | Event::GivenUp { attempt, fault }
        | Event::OutcomeUnknown { attempt, fault } => (*attempt, AttemptOutcome::Failed { fault: fault.clone() }),
        Event::Published
        | Event::Begun { .. }
        | Event::LeaseVoided { .. }
        | Event::Requeued
        | Event::GivenBack
        | Event::HeldBack { .. }
        | Event::KeptWaiting { .. }
        | Event::Parked { .. }
        | Event::DeadlinePassed
        | Event::CancelledByOffice { .. }
        | Event::Replayed { .. }
        | Event::Resolved { .. }
        | Event::Discarded { .. }
        | Event::Restored { .. } => return None,
    })
}
