//! Broken rules: one of production's is replaced by a wrong one, and the checker must find what comes of it. A rule whose
//! breach nobody notices would not be guarded by the model.

use super::{
    escape::Graph,
    moves::Model,
    properties::{DOUBT_SHOWN, NEVER_ACCEPTED, NEVER_DONE, NO_BREACH, ONE_EFFECT},
    rules::Rules,
};
use jiff::SignedDuration;
use punte::{
    delivery::{Asked, Case, after_asking, settle},
    domain::{
        Code, Effect, Event, Facts, Fault, Finding, Forbidden, Progress, Stage, State, StateName, Verdict, apply,
    },
};
use stateright::{Checker, HasDiscoveries, Model as _};

fn model(effect: Effect, workers: u8, break_it: impl Fn(&mut Rules)) -> Model {
    // As few faults as will do: what is found early is found soon.
    let (faults, replays) = if workers > 1 { (1, 0) } else { (1, 1) };
    let mut model = Model { faults, replays, ..Model::new(effect, workers, 2) };
    break_it(&mut model.rules);
    model
}

/// The shortest way into the breach is printed: it shows what the rule is there for.
fn is_found(model: Model, breach: &'static str) {
    let checker = model.checker().finish_when(HasDiscoveries::AnyOf([breach].into())).spawn_bfs().join();
    let found = checker.discovery(breach).unwrap_or_else(|| panic!("nothing was found against: {breach}"));
    println!("broken within {} steps: {breach}: {:?}", found.clone().into_actions().len(), found.into_actions());
}

/// The rule stands twice, and the second place holds alone.
fn is_prevented(model: Model) {
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    checker.assert_no_discovery(ONE_EFFECT);
    checker.assert_no_discovery(NO_BREACH);
}

/// A table that lets a machine send again whatever it likes.
fn lax(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
    match event {
        Event::RetryPlanned { .. } | Event::Deferred { .. } => {
            apply(now, Facts { effect: Effect::Idempotent, ..facts }, event)
        }
        Event::Begun { attempt, lease_until, .. } => {
            apply(now, facts, Event::Begun { attempt, lease_until, asks_first: true })
        }
        other => apply(now, facts, other),
    }
}

fn again(outcome: super::rules::Outcome, case: Case<'_>) -> Event {
    settle(outcome, Case { effect: Effect::Idempotent, ..case })
}

#[test]
fn sending_a_once_again_after_an_unknown_outcome_is_found() {
    is_found(
        model(Effect::Once, 1, |rules| {
            rules.settle = again;
            rules.apply = lax;
        }),
        ONE_EFFECT,
    );
}

#[test]
fn the_table_alone_keeps_a_delivery_from_sending_a_once_again() {
    is_prevented(model(Effect::Once, 1, |rules| rules.settle = again));
}

#[test]
fn taking_an_unsigned_no_for_certain_is_found() {
    fn credulous(outcome: super::rules::Outcome, case: Case<'_>) -> Event {
        match outcome {
            Err(fault) if fault.verdict == Verdict::DoNotRetryInDoubt => {
                settle(Err(Fault { verdict: Verdict::DoNotRetry, ..fault }), case)
            }
            other => settle(other, case),
        }
    }
    is_found(model(Effect::Once, 1, |rules| rules.settle = credulous), ONE_EFFECT);
    is_found(model(Effect::Idempotent, 1, |rules| rules.settle = credulous), DOUBT_SHOWN);
}

#[test]
fn waiting_for_an_agency_that_may_have_acted_is_found() {
    fn patient(outcome: super::rules::Outcome, case: Case<'_>) -> Event {
        match settle(outcome, case) {
            Event::OutcomeUnknown { attempt, fault } => {
                Event::Deferred { attempt, due_at: case.now, since: case.now, fault }
            }
            event => event,
        }
    }
    is_found(
        model(Effect::Once, 1, |rules| {
            rules.settle = patient;
            rules.apply = lax;
        }),
        ONE_EFFECT,
    );
}

#[test]
fn a_wait_for_the_agency_that_forgets_the_doubt_is_found() {
    fn forgetful(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        let is_wait = matches!(event, Event::Deferred { .. } | Event::HeldBack { .. });
        let after = apply(now, facts, event)?;
        Ok(if is_wait { Progress { in_doubt: false, ..after } } else { after })
    }
    is_found(model(Effect::Lookup, 1, |rules| rules.apply = forgetful), ONE_EFFECT);
}

#[test]
fn taking_a_lost_lease_for_nothing_sent_is_found() {
    let break_it = |rules: &mut Rules| {
        rules.after_due_time = |progress, effect, schedule, now| match progress.state {
            State::Sending { attempt, .. } => {
                let fault = Fault { verdict: Verdict::Retry, ..Fault::new(Code::Interrupted, Stage::Send, "") };
                let (tries, waiting_since, is_halted) = (progress.tries, None, false);
                let pause = SignedDuration::ZERO;
                Some(settle(
                    Err(fault),
                    Case { effect, attempt, tries, schedule, now, waiting_since, is_halted, pause },
                ))
            }
            _ => punte::roles::scheduler::after_due_time(progress, effect, schedule, now),
        }
    };
    is_found(model(Effect::Once, 1, break_it), ONE_EFFECT);
    is_found(model(Effect::Idempotent, 1, break_it), NEVER_DONE);
}

#[test]
fn not_asking_first_is_found() {
    is_found(
        model(Effect::Lookup, 1, |rules| {
            rules.asks_first = |_, _| false;
            rules.apply = lax;
        }),
        ONE_EFFECT,
    );
}

#[test]
fn the_table_alone_keeps_a_delivery_from_sending_again_without_asking() {
    is_prevented(model(Effect::Lookup, 1, |rules| rules.asks_first = |_, _| false));
}

#[test]
fn believing_an_early_not_seen_is_found() {
    let break_it = |rules: &mut Rules| {
        rules.after_asking = |outcome, now, _| match after_asking(outcome, now, now) {
            Asked::TooEarly(_) => Asked::NeverSeen,
            asked => asked,
        }
    };
    is_found(model(Effect::Lookup, 1, break_it), ONE_EFFECT);
}

#[test]
fn judging_not_seen_by_the_time_at_which_it_was_heard_is_found() {
    let break_it = |rules: &mut Rules| rules.order.judges_by_the_time_of_asking = false;
    is_found(model(Effect::Lookup, 1, break_it), ONE_EFFECT);
}

#[test]
fn an_old_look_at_the_record_that_begins_all_the_same_is_found() {
    fn unfenced(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        match event {
            Event::Begun { lease_until, .. } => {
                apply(now, facts, Event::Begun { attempt: now.attempts + 1, lease_until, asks_first: true })
            }
            other => apply(now, facts, other),
        }
    }
    is_found(model(Effect::Lookup, 2, |rules| rules.apply = unfenced), NO_BREACH);
}

#[test]
fn a_late_word_that_counts_for_a_later_attempt_is_found() {
    fn unfenced(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        let attempt = now.attempts;
        match event {
            Event::RetryPlanned { due_at, fault, .. } => {
                apply(now, facts, Event::RetryPlanned { attempt, due_at, fault })
            }
            Event::GivenUp { fault, .. } => apply(now, facts, Event::GivenUp { attempt, fault }),
            Event::PutBack { .. } => apply(now, facts, Event::PutBack { attempt }),
            other => apply(now, facts, other),
        }
    }
    is_found(model(Effect::Idempotent, 2, |rules| rules.apply = unfenced), NO_BREACH);
}

#[test]
fn beginning_only_after_sending_is_found() {
    let break_it = |rules: &mut Rules| rules.leases_first = |_, _| false;
    is_found(model(Effect::Once, 1, break_it), ONE_EFFECT);
    is_found(model(Effect::Once, 1, break_it), NO_BREACH);
    is_found(model(Effect::Idempotent, 1, break_it), NEVER_DONE);
    is_found(model(Effect::Lookup, 1, break_it), ONE_EFFECT);
}

#[test]
fn a_zombie_that_does_not_look_at_its_lease_is_found() {
    let break_it = |rules: &mut Rules| rules.may_leave = |_, _, _| true;
    is_found(model(Effect::Lookup, 2, break_it), NO_BREACH);
}

/// What no rule on this side can prevent: that is why tests/README.md promises it only for agencies that recognise a reference.
#[test]
fn a_freeze_just_between_the_look_at_the_lease_and_the_first_byte_is_found() {
    let break_it = |rules: &mut Rules| rules.order.looks_and_sends_at_once = false;
    is_found(model(Effect::Lookup, 2, break_it), ONE_EFFECT);
}

#[test]
fn sending_what_the_journal_does_not_have_yet_is_found() {
    let break_it = |rules: &mut Rules| rules.order.waits_for_the_journal = false;
    is_found(model(Effect::Read, 1, break_it), NO_BREACH);
    is_found(model(Effect::Read, 1, break_it), NEVER_ACCEPTED);
}

#[test]
fn taking_back_what_is_in_doubt_is_found() {
    fn careless(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        match event {
            Event::CancelledByOffice { .. } => apply(&Progress { in_doubt: false, ..now.clone() }, facts, event),
            other => apply(now, facts, other),
        }
    }
    is_found(model(Effect::Idempotent, 1, |rules| rules.apply = careless), NEVER_DONE);
}

#[test]
fn letting_expire_what_is_in_doubt_is_found() {
    fn careless(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        match event {
            Event::DeadlinePassed if now.state.name() != StateName::Waiting => {
                apply(&Progress { in_doubt: false, ..now.clone() }, facts, event)
            }
            other => apply(now, facts, other),
        }
    }
    is_found(model(Effect::Lookup, 1, |rules| rules.apply = careless), NEVER_DONE);
}

#[test]
fn forgetting_that_the_agency_has_taken_it_is_found() {
    fn forgetful(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        let is_taken = matches!(event, Event::TakenByAgency { .. });
        let after = apply(now, facts, event)?;
        Ok(if is_taken { Progress { in_doubt: now.in_doubt, ..after } } else { after })
    }
    let break_it = |rules: &mut Rules| rules.apply = forgetful;
    is_found(model(Effect::Once, 1, break_it), DOUBT_SHOWN);
    is_found(model(Effect::Idempotent, 1, break_it), NEVER_DONE);
}

#[test]
fn a_replay_that_forgets_the_doubt_is_found() {
    fn forgetful(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        let is_replay = matches!(event, Event::Replayed { .. });
        let after = apply(now, facts, event)?;
        Ok(if is_replay { Progress { in_doubt: false, ..after } } else { after })
    }
    is_found(model(Effect::Lookup, 1, |rules| rules.apply = forgetful), ONE_EFFECT);
}

#[test]
fn an_operator_who_is_not_warned_is_found() {
    fn unguarded(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        match event {
            Event::Replayed { by, accepts_repeat: None } => {
                apply(now, facts, Event::Replayed { by, accepts_repeat: Some(now.attempts) })
            }
            other => apply(now, facts, other),
        }
    }
    is_found(model(Effect::Once, 1, |rules| rules.apply = unguarded), ONE_EFFECT);
}

/// Who has seen an attempt that is not the last accepts more than was shown.
#[test]
fn an_acceptance_that_counts_for_a_later_repetition_is_found() {
    fn unfenced(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        match event {
            Event::Replayed { by, accepts_repeat: Some(_) } => {
                apply(now, facts, Event::Replayed { by, accepts_repeat: Some(now.attempts) })
            }
            other => apply(now, facts, other),
        }
    }
    let model = Model { replays: 2, ..model(Effect::Once, 1, |rules| rules.apply = unfenced) };
    is_found(model, ONE_EFFECT);
}

/// Two operators: what the one has found out of an attempt says nothing of the next, which the other has begun.
#[test]
fn a_finding_that_counts_for_a_later_attempt_is_found() {
    fn unfenced(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        match event {
            Event::Resolved { by, finding, .. } => {
                apply(now, facts, Event::Resolved { by, seen: now.attempts, finding })
            }
            other => apply(now, facts, other),
        }
    }
    is_found(Model { replays: 2, ..model(Effect::Once, 1, |rules| rules.apply = unfenced) }, ONE_EFFECT);
}

#[test]
fn asking_again_that_forgets_the_doubt_is_found() {
    fn forgetful(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        let is_asked = matches!(event, Event::Resolved { finding: Finding::AskAgain, .. });
        let after = apply(now, facts, event)?;
        Ok(if is_asked { Progress { in_doubt: false, ..after } } else { after })
    }
    is_found(model(Effect::Lookup, 1, |rules| rules.apply = forgetful), ONE_EFFECT);
}

#[test]
fn a_restored_journal_that_goes_on_as_it_was_is_found() {
    fn careless(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        match event {
            Event::Restored { .. } => Ok(now.clone()),
            other => apply(now, facts, other),
        }
    }
    for effect in [Effect::Lookup, Effect::Once] {
        is_found(after_a_restore(effect, careless), ONE_EFFECT);
    }
    is_found(after_a_restore(Effect::Idempotent, careless), NEVER_DONE);
}

#[test]
fn a_restored_journal_that_forgets_what_was_parked_is_found() {
    fn forgetful(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        match (&now.state, &event) {
            (State::Parked { .. }, Event::Restored { .. }) => Ok(now.clone()),
            _ => apply(now, facts, event),
        }
    }
    is_found(Model { replays: 2, ..after_a_restore(Effect::Once, forgetful) }, ONE_EFFECT);
}

type Apply = fn(&Progress, Facts, Event) -> Result<Progress, Forbidden>;

fn after_a_restore(effect: Effect, apply: Apply) -> Model {
    let mut model = Model { restores: 1, faults: 0, replays: 0, ..Model::new(effect, 1, 1) };
    model.rules.apply = apply;
    model
}

#[test]
fn a_machine_that_has_uncertain_done_again_is_found() {
    fn restless(now: &Progress, facts: Facts, event: Event) -> Result<Progress, Forbidden> {
        match (&now.state, &event) {
            (State::Uncertain { .. }, Event::GivenBack) => Ok(Progress { state: State::Accepted, ..now.clone() }),
            _ => apply(now, facts, event),
        }
    }
    is_found(Model { faults: 2, ..model(Effect::Once, 1, |rules| rules.apply = restless) }, NO_BREACH);
}

#[test]
fn messages_that_nobody_misses_are_found() {
    let graph = Graph::of(&model(Effect::Idempotent, 1, |rules| rules.missing = |_, _| 0));
    let lost = graph.lost_on_the_way();
    assert!(lost.iter().any(|world| world.state() == StateName::Queued), "{} are lost", lost.len());
    assert!(graph.without_end().is_empty(), "the deadline still ends them");
}

#[test]
fn leases_that_nobody_looks_at_are_found() {
    let graph = Graph::of(&model(Effect::Once, 1, |rules| {
        rules.after_due_time = |progress, effect, schedule, now| match progress.state {
            State::Sending { .. } => None,
            _ => punte::roles::scheduler::after_due_time(progress, effect, schedule, now),
        }
    }));
    assert!(graph.without_end().iter().any(|world| world.state() == StateName::Sending));
}
