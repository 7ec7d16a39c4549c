//! A timeline comes in and is gone through again over the transition table; what does not fit goes out.

use super::checker::Seen;
use punte::domain::{
    Answer, AttemptOutcome, Change, Code, Event, Fault, Finding, Progress, Refusal, Stage, StateName, apply,
};

/// Where the timeline and the state disagree, or why no machine of ours can have written it.
pub fn disagreement(seen: &Seen) -> Option<String> {
    let Some((first, changes)) = seen.timeline.split_first() else { return Some("it has no timeline".into()) };
    if (first.from, first.to) != (None, StateName::Accepted) {
        return Some(format!("it begins with {first:?}"));
    }
    let mut progress = Progress::accepted();
    for change in changes {
        if change.from != Some(progress.state.name()) {
            return Some(format!("{change:?} does not follow on {}", progress.state.name()));
        }
        let Some(event) = event(change, &progress, seen) else { return Some(format!("nothing explains {change:?}")) };
        progress = match apply(&progress, seen.effect.into(), event) {
            Ok(progress) if progress.state.name() == change.to => progress,
            Ok(progress) => return Some(format!("{change:?} would have led to {}", progress.state.name())),
            Err(forbidden) => return Some(format!("{change:?}: {forbidden}")),
        };
    }
    let told = (progress.state.name(), progress.attempts, progress.tries, progress.in_doubt);
    let now = &seen.progress;
    let is = (now.state.name(), now.attempts, now.tries, now.in_doubt);
    (told != is).then(|| format!("the timeline ends with {told:?}, the state is {is:?}"))
}

const AWAY: &str = ": waiting for the agency since ";

/// The event behind a line. What a line does not hold stands in the attempt that it ended.
fn event(change: &Change, now: &Progress, seen: &Seen) -> Option<Event> {
    use StateName as S;
    let (cause, attempt, at) = (change.cause.as_str(), now.attempts, change.at);
    let is_sending = change.from == Some(S::Sending);
    Some(match (cause, change.to) {
        ("published", S::Queued) => Event::Published,
        ("answered", S::Completed) => Event::Answered { attempt, answer: Answer(serde_json::json!({})) },
        ("taken by the agency", S::Waiting) => Event::TakenByAgency { attempt, at },
        ("put back unsent", S::Accepted) => Event::PutBack { attempt },
        (_, S::Queued) if cause.contains(AWAY) => {
            let (code, since) = cause.split_once(AWAY)?;
            Event::KeptWaiting { since: since.parse().ok()?, fault: plain_fault(code)? }
        }
        ("requeued", S::Accepted) => Event::Requeued,
        ("given back before an attempt", S::Accepted) => Event::GivenBack,
        ("its process has ended", S::Sending) => Event::LeaseVoided { attempt, at },
        _ if cause.starts_with("journal restored") => Event::Restored { by: String::new() },
        (_, S::Accepted) if cause.starts_with("replayed") => Event::Replayed {
            by: String::new(),
            accepts_repeat: cause.starts_with("replayed although").then_some(attempt),
        },
        _ if cause.starts_with("found to have happened") => resolved(Finding::Happened { answer: None }, attempt),
        _ if cause.starts_with("found not to have happened") => resolved(Finding::DidNotHappen, attempt),
        _ if cause.starts_with("to be asked about again") => resolved(Finding::AskAgain, attempt),
        (_, S::Sending) => {
            // Whether it asked first is not in the timeline.
            let attempt = cause.strip_prefix("attempt ")?.parse().ok()?;
            Event::Begun { attempt, lease_until: change.at, asks_first: true }
        }
        (_, S::Refused) => {
            let code = cause.strip_prefix("agency.refused: ")?.to_owned();
            Event::RefusedByAgency { attempt, refusal: Refusal { code, text: String::new() } }
        }
        (_, S::Cancelled) => match cause.split_once(" by ")? {
            ("cancelled", by) => Event::CancelledByOffice { by: by.parse().ok()? },
            ("discarded", by) => Event::Discarded { by: by.into() },
            _ => return None,
        },
        (_, S::Retrying) if cause.contains(AWAY) => {
            let (code, since) = cause.split_once(AWAY)?;
            let (due_at, since) = (at, since.parse().ok()?);
            match is_sending {
                true => Event::Deferred { attempt, due_at, since, fault: fault_of(seen, attempt, code)? },
                false => Event::HeldBack { due_at, since, fault: plain_fault(code)? },
            }
        }
        (_, S::Retrying) => Event::RetryPlanned { attempt, due_at: at, fault: fault_of(seen, attempt, cause)? },
        (_, S::Uncertain) => Event::OutcomeUnknown { attempt, fault: fault_of(seen, attempt, cause)? },
        (_, S::Parked) if is_sending => Event::GivenUp { attempt, fault: fault_of(seen, attempt, cause)? },
        (_, S::Parked | S::Expired) => {
            let fault = plain_fault(cause)?;
            match fault.code {
                Code::DeadlinePassed | Code::DeadlineInDoubt => Event::DeadlinePassed,
                _ => Event::Parked { fault },
            }
        }
        _ => return None,
    })
}

fn resolved(finding: Finding, seen: u32) -> Event {
    Event::Resolved { by: String::new(), seen, finding }
}

/// With the verdict that delivery came to. A late answer may have taken the fault's place.
fn fault_of(seen: &Seen, attempt: u32, cause: &str) -> Option<Fault> {
    let tried = seen.attempts.iter().find(|it| it.number == attempt)?;
    match &tried.outcome {
        Some(AttemptOutcome::Failed { fault }) if fault.code.as_str() == cause => Some(fault.clone()),
        Some(AttemptOutcome::Answered | AttemptOutcome::Refused { .. }) => plain_fault(cause),
        _ => None,
    }
}

fn plain_fault(cause: &str) -> Option<Fault> {
    let code = Code::ALL.iter().find(|code| code.as_str() == cause)?;
    Some(Fault::new(*code, Stage::Settle, ""))
}
