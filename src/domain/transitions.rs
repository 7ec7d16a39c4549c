//! The one transition table: a progress and an event come in, the next progress goes out, or the event is forbidden.

use super::{Code, Effect, Event, EventName, Fault, Finding, Progress, Stage, State, StateName, Verdict};
use jiff::Timestamp;

/// What stands beside the progress, and decides what an event may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// As it was when the submission was accepted.
    pub effect: Effect,
    /// There is nothing left to send.
    pub is_erased: bool,
    /// The event comes at its deadline or later.
    pub is_overdue: bool,
}

impl From<Effect> for Facts {
    fn from(effect: Effect) -> Self {
        Self { effect, is_erased: false, is_overdue: false }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event} is not possible in state {state}")]
pub struct Forbidden {
    pub state: StateName,
    pub event: EventName,
}

/// The next progress. Nothing else in Punte changes a state.
pub fn apply(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
    let forbidden = Forbidden { state: now.state.name(), event: event.name() };
    if !is_allowed(now, facts, &event) {
        return Err(forbidden);
    }
    let to = |state: State| Progress { state, ..now.clone() };
    // It was heard of the agency, or nobody waits for it any longer.
    let over = |state: State| Progress { waiting_since: None, ..to(state) };
    let failed = |state: State, fault: &Fault| Progress {
        in_doubt: now.in_doubt || fault.verdict.leaves_doubt(),
        ..over(state)
    };
    let waiting = |since: Timestamp| Some(now.waiting_since.map_or(since, |earlier| earlier.min(since)));
    Ok(match event {
        Event::Published => to(State::Queued),
        Event::Begun { attempt, lease_until, .. } => Progress {
            state: State::Sending { attempt, lease_until },
            attempts: attempt,
            tries: now.tries + 1,
            ..now.clone()
        },
        Event::Answered { answer, .. } => {
            Progress { in_doubt: false, ..over(State::Completed { answer: Some(answer) }) }
        }
        Event::RefusedByAgency { refusal, .. } => Progress { in_doubt: false, ..over(State::Refused { refusal }) },
        // What it will do, or has done since, nobody sees: that stays true when the waiting ends without its answer.
        Event::TakenByAgency { at, .. } => Progress { in_doubt: true, ..over(State::Waiting { since: at }) },
        Event::RetryPlanned { due_at, fault, .. } => failed(State::Retrying { due_at, fault: fault.clone() }, &fault),
        Event::Deferred { due_at, since, fault, .. } => Progress {
            tries: now.tries.saturating_sub(1),
            waiting_since: waiting(since),
            ..failed(State::Retrying { due_at, fault: fault.clone() }, &fault)
        },
        Event::HeldBack { due_at, since, fault } => {
            Progress { waiting_since: waiting(since), ..to(State::Retrying { due_at, fault }) }
        }
        Event::KeptWaiting { since, .. } => Progress { waiting_since: waiting(since), ..now.clone() },
        Event::GivenUp { fault, .. } => failed(State::Parked { fault: fault.clone() }, &fault),
        Event::OutcomeUnknown { fault, .. } => Progress { in_doubt: true, ..over(State::Uncertain { fault }) },
        Event::PutBack { .. } => Progress { tries: now.tries.saturating_sub(1), ..to(State::Accepted) },
        Event::LeaseVoided { attempt, at } => to(State::Sending { attempt, lease_until: at }),
        Event::Requeued | Event::GivenBack => to(State::Accepted),
        Event::Parked { fault } => over(State::Parked { fault }),
        Event::DeadlinePassed => over(overdue(now)),
        Event::CancelledByOffice { by } => over(State::Cancelled { by: by.to_string() }),
        Event::Discarded { by } => over(State::Cancelled { by }),
        // The doubt stays until an answer clears it, so that the next replay asks again.
        Event::Replayed { .. } | Event::Resolved { finding: Finding::AskAgain, .. } => {
            Progress { tries: 0, ..to(State::Accepted) }
        }
        Event::Resolved { finding: Finding::Happened { answer }, .. } => {
            Progress { in_doubt: false, ..over(State::Completed { answer }) }
        }
        Event::Resolved { finding: Finding::DidNotHappen, .. } => {
            Progress { tries: 0, in_doubt: false, ..to(State::Accepted) }
        }
        Event::Restored { .. } => restored(now, facts.effect),
    })
}

/// What the agency has taken, or may have acted on, does not simply expire, be it a read: an operator has to find out.
fn overdue(now: &Progress) -> State {
    let is_taken = now.state.name() == StateName::Waiting;
    let last = now.state.fault().map_or_else(String::new, |fault| format!("; the last fault was {fault}"));
    if !is_taken && !now.in_doubt {
        let detail = format!("in state {}{last}", now.state.name());
        return State::Expired { fault: Fault::new(Code::DeadlinePassed, Stage::Settle, detail) };
    }
    let what = match is_taken {
        true => "the agency has taken it and not answered",
        false => "an earlier attempt's outcome is unknown",
    };
    let fault = Fault::new(Code::DeadlineInDoubt, Stage::Settle, format!("{what}{last}"));
    State::Parked { fault: Fault { verdict: Verdict::Unknown, ..fault } }
}

/// Whatever was under way may have been sent since, and an operator may have replayed what was parked. What can neither be
/// asked about nor recognised is an operator's; of everything else the doubt is enough: it is asked about first, or sent
/// again with its reference, and nobody takes it back or lets it expire.
fn restored(now: &Progress, effect: Effect) -> Progress {
    let state = match (effect, &now.state) {
        (Effect::Once, State::Accepted | State::Queued | State::Sending { .. } | State::Retrying { .. }) => {
            let detail = "the journal is older than what was sent, and this may have been sent since";
            State::Uncertain { fault: Fault::new(Code::JournalRestored, Stage::Settle, detail) }
        }
        (_, state) => state.clone(),
    };
    let waiting_since = now.waiting_since.filter(|_| state.name() != StateName::Uncertain);
    Progress { state, in_doubt: true, waiting_since, ..now.clone() }
}

/// The table. Attempts are fenced by their number: the late word of a worker that was taken for dead changes nothing,
/// except that it may clear up what had become uncertain.
fn is_allowed(now: &Progress, facts: Facts, event: &Event) -> bool {
    use StateName as S;
    let state = now.state.name();
    let is_current = |attempt: u32| state == S::Sending && attempt == now.attempts;
    match event {
        Event::Published => state == S::Accepted,
        // A broker may deliver before the journal knows of the confirm, hence `Accepted`. What is to be done once and is in
        // doubt comes into these states only by a replay that accepts the repetition.
        Event::Begun { attempt, asks_first, .. } => {
            matches!(state, S::Accepted | S::Queued)
                && *attempt == now.attempts + 1
                && !facts.is_overdue
                && (*asks_first || !now.is_to_be_asked_about(facts.effect))
        }
        Event::Answered { attempt, .. } | Event::RefusedByAgency { attempt, .. } => {
            *attempt == now.attempts
                && (matches!(state, S::Sending | S::Waiting | S::Uncertain) || (state == S::Parked && now.in_doubt))
        }
        // What may have been done, and would be done twice, no machine sends again.
        Event::RetryPlanned { attempt, fault, .. } | Event::Deferred { attempt, fault, .. } => {
            is_current(*attempt) && !(facts.effect == Effect::Once && fault.verdict.leaves_doubt())
        }
        Event::TakenByAgency { attempt, .. }
        | Event::GivenUp { attempt, .. }
        | Event::OutcomeUnknown { attempt, .. }
        | Event::PutBack { attempt }
        | Event::LeaseVoided { attempt, .. } => is_current(*attempt),
        Event::Requeued => matches!(state, S::Retrying | S::Queued),
        // Of what is `accepted` a confirm is still to come: it speaks of an outbox row that is no longer the same.
        Event::GivenBack => matches!(state, S::Accepted | S::Queued),
        // Of what is `accepted`, a confirm of the broker is still to come, and would speak of a message that is gone.
        Event::HeldBack { .. } => state == S::Queued,
        // It is told once.
        Event::KeptWaiting { .. } => state == S::Queued && now.waiting_since.is_none(),
        Event::Parked { .. } => matches!(state, S::Accepted | S::Queued | S::Waiting),
        Event::DeadlinePassed => matches!(state, S::Accepted | S::Queued | S::Retrying | S::Waiting),
        Event::CancelledByOffice { .. } => matches!(state, S::Accepted | S::Queued | S::Retrying) && !now.in_doubt,
        // Whoever accepts a repetition accepts the one that was seen, and not what another replay has done since.
        Event::Replayed { accepts_repeat, .. } => {
            matches!(state, S::Parked | S::Uncertain)
                && !facts.is_erased
                && (!now.would_act_twice(facts.effect) || *accepts_repeat == Some(now.attempts))
        }
        // It speaks of the attempt that was seen, and of a doubt that nobody has cleared up meanwhile.
        Event::Resolved { seen, finding, .. } => {
            matches!(state, S::Parked | S::Uncertain)
                && now.in_doubt
                && *seen == now.attempts
                && match finding {
                    Finding::Happened { .. } => true,
                    Finding::DidNotHappen => !facts.is_erased,
                    // Only an agency whose operation has a lookup can be asked by our reference.
                    Finding::AskAgain => !facts.is_erased && facts.effect == Effect::Lookup,
                }
        }
        Event::Discarded { .. } => matches!(state, S::Parked | S::Uncertain),
        // A read changes nothing, and what waits or is uncertain is in doubt already.
        Event::Restored { .. } => {
            facts.effect != Effect::Read
                && matches!(state, S::Accepted | S::Queued | S::Sending | S::Retrying | S::Parked)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Actor, Answer, Refusal};
    use serde_json::json;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const ONCE: Facts = Facts { effect: Effect::Once, is_erased: false, is_overdue: false };

    fn fault(code: Code) -> Fault {
        Fault::new(code, Stage::Send, "")
    }

    fn begun(attempt: u32, asks_first: bool) -> Event {
        Event::Begun { attempt, lease_until: NOW, asks_first }
    }

    fn replay(accepts_repeat: Option<u32>) -> Event {
        Event::Replayed { by: "a".into(), accepts_repeat }
    }

    fn states() -> Vec<State> {
        let fault = fault(Code::NetworkConnect);
        vec![
            State::Accepted,
            State::Queued,
            State::Sending { attempt: 1, lease_until: NOW },
            State::Completed { answer: Some(Answer(json!({}))) },
            State::Refused { refusal: Refusal { code: "x".into(), text: "y".into() } },
            State::Waiting { since: NOW },
            State::Retrying { due_at: NOW, fault: fault.clone() },
            State::Parked { fault: fault.clone() },
            State::Uncertain { fault: fault.clone() },
            State::Expired { fault },
            State::Cancelled { by: "a".into() },
        ]
    }

    fn events(attempt: u32) -> Vec<Event> {
        events_with(attempt, &fault(Code::NetworkConnect))
    }

    fn events_with(attempt: u32, fault: &Fault) -> Vec<Event> {
        vec![
            Event::Published,
            begun(attempt + 1, false),
            Event::Answered { attempt, answer: Answer(json!({})) },
            Event::RefusedByAgency { attempt, refusal: Refusal { code: "x".into(), text: "y".into() } },
            Event::TakenByAgency { attempt, at: NOW },
            Event::RetryPlanned { attempt, due_at: NOW, fault: fault.clone() },
            Event::Deferred { attempt, due_at: NOW, since: NOW, fault: fault.clone() },
            Event::HeldBack { due_at: NOW, since: NOW, fault: fault.clone() },
            Event::KeptWaiting { since: NOW, fault: fault.clone() },
            Event::GivenUp { attempt, fault: fault.clone() },
            Event::OutcomeUnknown { attempt, fault: fault.clone() },
            Event::PutBack { attempt },
            Event::LeaseVoided { attempt, at: NOW },
            Event::Requeued,
            Event::GivenBack,
            Event::Parked { fault: fault.clone() },
            Event::DeadlinePassed,
            Event::CancelledByOffice { by: "causeni".parse().unwrap() },
            Event::Replayed { by: "a".into(), accepts_repeat: None },
            Event::Resolved { by: "a".into(), seen: attempt, finding: Finding::DidNotHappen },
            Event::Discarded { by: "a".into() },
            Event::Restored { by: "a".into() },
        ]
    }

    /// The whole table, as a picture, for what is done once; only what is uncertain is in doubt. Rows are states, columns are events in the order of `events`, cells the next state.
    #[test]
    fn every_state_meets_every_event_as_drawn() {
        // pub beg ans ref tak ret def hel kep giv unk put voi req bac par dea can rep res dis rst
        let drawn = "
            accepted  que sen .   .   .   .   .   .   .   .   .   .   .   .   acc par exp can .   .   .   unc
            queued    .   sen .   .   .   .   .   ret que .   .   .   .   acc acc par exp can .   .   .   unc
            sending   .   .   com ref wai ret ret .   .   par unc acc sen .   .   .   .   .   .   .   .   unc
            completed .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .
            refused   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .
            waiting   .   .   com ref .   .   .   .   .   .   .   .   .   .   .   par par .   .   .   .   .
            retrying  .   .   .   .   .   .   .   .   .   .   .   .   .   acc .   .   exp can .   .   .   unc
            parked    .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   acc .   can par
            uncertain .   .   com ref .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   acc can .
            expired   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .
            cancelled .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .   .";
        let mut rows = 0;
        for line in drawn.trim().lines() {
            let mut cells = line.split_whitespace();
            let name = cells.next().unwrap();
            let state = states().into_iter().find(|state| state.name().as_str() == name).unwrap();
            let in_doubt = state.name() == StateName::Uncertain;
            let now = Progress { state, attempts: 1, tries: 1, in_doubt, waiting_since: None };
            let cells: Vec<_> = cells.collect();
            assert_eq!(events(1).len(), cells.len(), "{name}");
            for (event, cell) in events(1).into_iter().zip(cells) {
                let label = format!("{name} + {:?}", event.name());
                let next =
                    apply(&now, ONCE, event).map_or(".".into(), |next| next.state.name().as_str()[..3].to_owned());
                assert_eq!(next, cell, "{label}");
            }
            rows += 1;
        }
        assert_eq!(rows, StateName::ALL.len());
    }

    #[test]
    fn what_is_not_possible_is_told_in_plain_words() {
        let told = |event| Forbidden { state: StateName::Accepted, event }.to_string();
        assert_eq!(told(EventName::Discarded), "discarding it is not possible in state accepted");
        for event in EventName::ALL {
            assert!(!told(event).contains(&format!("{event:?}")), "{event:?}");
        }
    }

    #[test]
    fn the_table_is_drawn_for_every_event() {
        let names: Vec<_> = events(1).iter().map(Event::name).collect();
        assert_eq!(names, EventName::ALL);
    }

    /// Whatever a road above may decide: each order of events is gone through, and it is noted beside the table what an
    /// operator has accepted.
    #[test]
    fn what_may_have_been_done_and_is_not_recognised_begins_again_only_by_an_operators_word() {
        let codes = [Code::NetworkConnect, Code::NetworkTimeout, Code::AgencySoapClientFault];
        let (mut open, mut seen) = (vec![(Progress::accepted(), false)], Vec::new());
        while let Some((now, is_accepted)) = open.pop() {
            let faulty = codes.into_iter().flat_map(|code| events_with(now.attempts, &fault(code)));
            let done =
                |answer| Event::Resolved { by: "a".into(), seen: now.attempts, finding: Finding::Happened { answer } };
            let asked = Event::Resolved { by: "a".into(), seen: now.attempts, finding: Finding::AskAgain };
            for event in faulty.chain([replay(Some(now.attempts)), done(None), asked]) {
                let Ok(next) = apply(&now, ONCE, event.clone()) else { continue };
                let is_begun = event.name() == EventName::Begun;
                assert!(!is_begun || !now.in_doubt || is_accepted, "{now:?}");
                let is_accepted = match &event {
                    Event::Replayed { .. } => now.in_doubt,
                    // The repetition is used up.
                    Event::RetryPlanned { fault, .. } | Event::Deferred { fault, .. } => {
                        is_accepted && !fault.verdict.leaves_doubt()
                    }
                    _ => is_accepted && !next.state.name().is_settled(),
                };
                let next = (Progress { tries: 0, ..next }, is_accepted);
                if next.0.attempts < 4 && !seen.contains(&next) {
                    seen.push(next.clone());
                    open.push(next);
                }
            }
        }
        assert!(
            seen.iter().any(|(now, _)| now.in_doubt && now.state.name() == StateName::Sending),
            "none was replayed"
        );
    }

    #[test]
    fn an_agency_that_can_be_asked_is_asked_before_anything_in_doubt_is_sent_again() {
        let queued = |in_doubt| Progress { in_doubt, ..Progress::accepted() };
        let is_allowed = |in_doubt, asks_first, effect: Effect| {
            apply(&queued(in_doubt), effect.into(), begun(1, asks_first)).is_ok()
        };
        assert!(!is_allowed(true, false, Effect::Lookup));
        assert!(is_allowed(true, true, Effect::Lookup) && is_allowed(false, false, Effect::Lookup));
        assert!(is_allowed(true, false, Effect::Idempotent));
    }

    #[test]
    fn nothing_is_begun_after_its_deadline() {
        for effect in Effect::ALL {
            let overdue = Facts { is_overdue: true, ..effect.into() };
            assert!(apply(&Progress::accepted(), overdue, begun(1, true)).is_err());
            assert!(apply(&Progress::accepted(), overdue, Event::Published).is_ok());
        }
    }

    #[test]
    fn an_attempt_that_is_no_longer_the_current_one_changes_nothing() {
        let now = Progress {
            state: State::Sending { attempt: 2, lease_until: NOW },
            attempts: 2,
            tries: 2,
            in_doubt: false,
            waiting_since: None,
        };
        // A restore speaks of the submission, whatever its attempt.
        let speaks_of_another = |event: &Event| matches!(event, Event::Begun { .. } | Event::Restored { .. });
        for event in events(1).into_iter().filter(|event| !speaks_of_another(event)) {
            assert!(apply(&now, ONCE, event.clone()).is_err(), "{event:?}");
        }
        assert!(apply(&now, ONCE, begun(2, true)).is_err());
    }

    #[test]
    fn doubt_stays_until_an_answer_clears_it() {
        let sending = |in_doubt| Progress {
            state: State::Sending { attempt: 1, lease_until: NOW },
            attempts: 1,
            tries: 1,
            in_doubt,
            waiting_since: None,
        };
        let unknown = Event::RetryPlanned { attempt: 1, due_at: NOW, fault: fault(Code::NetworkTimeout) };
        let doubtful = apply(&sending(false), Effect::Idempotent.into(), unknown).unwrap();
        assert!(doubtful.in_doubt);
        assert!(apply(&doubtful, ONCE, Event::CancelledByOffice { by: "causeni".parse().unwrap() }).is_err());
        let late = apply(&doubtful, ONCE, Event::DeadlinePassed).unwrap();
        assert_eq!(late.state.name(), StateName::Parked);
        assert_eq!(late.state.fault().unwrap().code, Code::DeadlineInDoubt);
        let untouched = apply(&Progress::accepted(), ONCE, Event::DeadlinePassed).unwrap();
        assert_eq!(untouched.state.name(), StateName::Expired);
        assert_eq!(untouched.state.fault().unwrap().code, Code::DeadlinePassed);
        let answered = apply(&sending(true), ONCE, Event::Answered { attempt: 1, answer: Answer(json!({})) }).unwrap();
        assert!(!answered.in_doubt);
    }

    #[test]
    fn what_is_given_up_on_an_unsigned_word_is_in_doubt_and_what_the_agency_vouches_for_is_not() {
        let sending = Progress {
            state: State::Sending { attempt: 1, lease_until: NOW },
            attempts: 1,
            tries: 1,
            in_doubt: false,
            waiting_since: None,
        };
        for (verdict, in_doubt) in [(Verdict::DoNotRetryInDoubt, true), (Verdict::DoNotRetry, false)] {
            let fault = Fault { verdict, ..fault(Code::AgencySoapClientFault) };
            let parked = apply(&sending, ONCE, Event::GivenUp { attempt: 1, fault }).unwrap();
            assert_eq!((parked.state.name(), parked.in_doubt), (StateName::Parked, in_doubt));
            assert_eq!(parked.would_act_twice(Effect::Once), in_doubt);
        }
    }

    #[test]
    fn what_the_agency_has_taken_stays_in_doubt_until_its_answer() {
        let sending = Progress {
            state: State::Sending { attempt: 1, lease_until: NOW },
            attempts: 1,
            tries: 1,
            in_doubt: false,
            waiting_since: None,
        };
        let waiting = apply(&sending, ONCE, Event::TakenByAgency { attempt: 1, at: NOW }).unwrap();
        let deadline = Event::DeadlinePassed;
        for gave_up in [deadline.clone(), Event::Parked { fault: fault(Code::AttachmentLost) }] {
            let parked = apply(&waiting, ONCE, gave_up).unwrap();
            assert!(parked.in_doubt && parked.would_act_twice(Effect::Once));
            let answered = apply(&parked, ONCE, Event::Answered { attempt: 1, answer: Answer(json!({})) }).unwrap();
            assert!(!answered.in_doubt);
            let replayed = apply(&parked, ONCE, replay(Some(1))).unwrap();
            assert!(apply(&replayed, ONCE, Event::CancelledByOffice { by: "causeni".parse().unwrap() }).is_err());
            assert_eq!(apply(&replayed, ONCE, deadline.clone()).unwrap().state.name(), StateName::Parked);
        }
    }

    #[test]
    fn what_would_be_done_twice_is_replayed_only_by_who_accepts_just_that() {
        for state in [
            State::Parked { fault: fault(Code::NetworkConnect) },
            State::Uncertain { fault: fault(Code::NetworkReset) },
        ] {
            let doubtful = Progress { state, attempts: 3, tries: 1, in_doubt: true, waiting_since: None };
            for accepted in [None, Some(2), Some(4)] {
                assert!(apply(&doubtful, ONCE, replay(accepted)).is_err(), "{accepted:?}");
            }
            let again = apply(&doubtful, ONCE, replay(Some(3))).unwrap();
            let parked = State::Parked { fault: fault(Code::NetworkConnect) };
            let next = Progress { state: parked, attempts: 4, ..again };
            assert!(apply(&next, ONCE, replay(Some(3))).is_err() && apply(&next, ONCE, replay(None)).is_err());
            for effect in [Effect::Read, Effect::Idempotent, Effect::Lookup] {
                assert!(apply(&doubtful, effect.into(), replay(None)).is_ok(), "{effect:?}");
            }
        }
    }

    #[test]
    fn what_was_erased_cannot_be_replayed() {
        let now = Progress {
            state: State::Parked { fault: fault(Code::NetworkConnect) },
            attempts: 1,
            tries: 1,
            in_doubt: false,
            waiting_since: None,
        };
        for effect in Effect::ALL {
            let erased = Facts { is_erased: true, ..effect.into() };
            assert!(apply(&now, erased, replay(None)).is_err() && apply(&now, erased, replay(Some(1))).is_err());
            assert!(apply(&now, erased, Event::Discarded { by: "a".into() }).is_ok());
        }
    }

    #[test]
    fn after_a_restore_whatever_may_have_been_sent_is_in_doubt() {
        for effect in Effect::ALL {
            for state in states() {
                let name = state.name();
                let now = Progress { state, attempts: 1, tries: 1, in_doubt: false, waiting_since: None };
                let restored = apply(&now, effect.into(), Event::Restored { by: "a".into() });
                let is_open = matches!(
                    name,
                    StateName::Accepted
                        | StateName::Queued
                        | StateName::Sending
                        | StateName::Retrying
                        | StateName::Parked
                );
                if !is_open || effect == Effect::Read {
                    assert!(restored.is_err(), "{effect:?} {name}");
                    continue;
                }
                let restored = restored.unwrap();
                let is_uncertain = effect == Effect::Once && name != StateName::Parked;
                let expected = if is_uncertain { StateName::Uncertain } else { name };
                assert_eq!((restored.state.name(), restored.in_doubt), (expected, true), "{effect:?} {name}");
            }
        }
    }

    #[test]
    fn a_replay_begins_a_new_count_of_tries_but_keeps_numbering_attempts() {
        let parked = Progress {
            state: State::Parked { fault: fault(Code::NetworkConnect) },
            attempts: 6,
            tries: 6,
            in_doubt: false,
            waiting_since: None,
        };
        let replayed = apply(&parked, ONCE, replay(None)).unwrap();
        assert_eq!((replayed.attempts, replayed.tries, replayed.state.name()), (6, 0, StateName::Accepted));
        let begun = apply(&replayed, ONCE, begun(7, false)).unwrap();
        assert_eq!((begun.attempts, begun.tries), (7, 1));
    }

    #[test]
    fn a_late_answer_clears_up_what_had_become_uncertain() {
        let uncertain = Progress {
            state: State::Uncertain { fault: fault(Code::NetworkReset) },
            attempts: 3,
            tries: 3,
            in_doubt: true,
            waiting_since: None,
        };
        let cleared = apply(&uncertain, ONCE, Event::Answered { attempt: 3, answer: Answer(json!({})) }).unwrap();
        assert_eq!(cleared.state.name(), StateName::Completed);
    }

    #[test]
    fn a_decision_about_an_unknown_outcome_counts_for_the_attempt_that_was_seen_and_once() {
        let resolved = |seen, finding| Event::Resolved { by: "a".into(), seen, finding };
        let done = || Finding::Happened { answer: None };
        for (state, effect) in [
            (State::Uncertain { fault: fault(Code::NetworkReset) }, Effect::Once),
            (State::Parked { fault: fault(Code::DeadlineInDoubt) }, Effect::Lookup),
        ] {
            let doubtful = Progress { state, attempts: 3, tries: 1, in_doubt: true, waiting_since: None };
            let facts = Facts::from(effect);
            for seen in [0, 2, 4] {
                for finding in [done(), Finding::DidNotHappen, Finding::AskAgain] {
                    assert!(apply(&doubtful, facts, resolved(seen, finding)).is_err(), "{seen}");
                }
            }
            let completed = apply(&doubtful, facts, resolved(3, done())).unwrap();
            assert_eq!((&completed.state, completed.in_doubt), (&State::Completed { answer: None }, false));
            let again = apply(&doubtful, facts, resolved(3, Finding::DidNotHappen)).unwrap();
            assert_eq!((&again.state, again.in_doubt, again.tries), (&State::Accepted, false, 0));
            // The other operator, and the late word of the agency, come too late.
            let late = Event::Answered { attempt: 3, answer: Answer(json!({})) };
            for decided in [completed, again] {
                assert!(apply(&decided, facts, resolved(3, done())).is_err());
                assert!(apply(&decided, facts, resolved(3, Finding::DidNotHappen)).is_err());
                assert!(apply(&decided, facts, late.clone()).is_err());
            }
            let certain = Progress { in_doubt: false, ..doubtful };
            assert!(apply(&certain, facts, resolved(3, done())).is_err(), "nothing is in doubt");
        }
    }

    #[test]
    fn only_an_agency_that_can_be_asked_is_asked_again_and_the_doubt_stays_meanwhile() {
        let parked = Progress {
            state: State::Parked { fault: fault(Code::DeadlineInDoubt) },
            attempts: 1,
            tries: 1,
            in_doubt: true,
            waiting_since: None,
        };
        let ask = || Event::Resolved { by: "a".into(), seen: 1, finding: Finding::AskAgain };
        for effect in [Effect::Read, Effect::Idempotent, Effect::Once] {
            assert!(apply(&parked, effect.into(), ask()).is_err(), "{effect:?}");
        }
        let asked = apply(&parked, Effect::Lookup.into(), ask()).unwrap();
        assert_eq!((asked.state.name(), asked.in_doubt), (StateName::Accepted, true));
        assert!(apply(&asked, Effect::Lookup.into(), begun(2, false)).is_err(), "it is asked about first");
        assert!(apply(&asked, Effect::Lookup.into(), begun(2, true)).is_ok());
    }

    #[test]
    fn who_is_behind_a_change_is_known_of_every_event() {
        for event in events(1) {
            let expected = match event.name() {
                EventName::CancelledByOffice => Actor::Office("causeni".parse().unwrap()),
                EventName::Replayed | EventName::Resolved | EventName::Discarded | EventName::Restored => {
                    Actor::Operator("a".into())
                }
                _ => Actor::Machine,
            };
            assert_eq!(event.actor(), expected);
        }
    }
}
