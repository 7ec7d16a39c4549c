//! The checker is checked: ledgers that are sound pass, and each kind of lie in them is found and called by its name.

use super::{
    checker::{Evidence, Invariant, Letter, Queue, Seen, check},
    clients::Posting,
    process::Footprint,
};
use jiff::{SignedDuration, Timestamp};
use punte::{
    domain::{
        Actor, Answer, Attempt, AttemptOutcome, Change, Code, Effect, Event, Fault, Finding, Progress, Stage,
        StateName, SubmissionId, apply,
    },
    kit::simulator::{Arrival, LedgerEntry},
};
use serde_json::json;
use std::collections::BTreeSet;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// A submission that went through these events.
fn life(effect: Effect, service: &str, events: Vec<Event>) -> Seen {
    let id = SubmissionId::new();
    let mut progress = Progress::accepted();
    let mut timeline = vec![Change { at: at(0), from: None, to: StateName::Accepted, cause: String::new(), by: None }];
    let mut attempts: Vec<Attempt> = Vec::new();
    for (second, event) in (1..).zip(events) {
        let after = apply(&progress, effect.into(), event.clone()).unwrap();
        let (from, to) = (Some(progress.state.name()), after.state.name());
        timeline.push(Change { at: at(second), from, to, cause: event.cause(&after.state), by: Some(event.actor()) });
        match &event {
            Event::Begun { attempt, .. } => attempts.push(Attempt {
                submission: id,
                number: *attempt,
                begun_at: at(second),
                ended_at: None,
                outcome: None,
                wire: None,
            }),
            Event::Answered { .. } => attempts.last_mut().unwrap().outcome = Some(AttemptOutcome::Answered),
            Event::RetryPlanned { fault, .. } | Event::OutcomeUnknown { fault, .. } | Event::GivenUp { fault, .. } => {
                attempts.last_mut().unwrap().outcome = Some(AttemptOutcome::Failed { fault: fault.clone() });
            }
            _ => {}
        }
        progress = after;
    }
    let changed_at = timeline.last().unwrap().at;
    let (accepted_at, expires_at) = (at(0), at(3600));
    let (id, service) = (id.to_string(), service.to_owned());
    Seen { id, service, effect, accepted_at, expires_at, changed_at, progress, timeline, attempts }
}

fn begun(attempt: u32) -> Event {
    Event::Begun { attempt, lease_until: at(60), asks_first: true }
}

fn answered(attempt: u32) -> Event {
    Event::Answered { attempt, answer: Answer(json!({})) }
}

fn fault(code: Code) -> Fault {
    Fault::new(code, Stage::Send, "")
}

fn retried() -> Vec<Event> {
    let retry = Event::RetryPlanned { attempt: 1, due_at: at(5), fault: fault(Code::NetworkReset) };
    vec![Event::Published, begun(1), retry, Event::Requeued, Event::Published, begun(2), answered(2)]
}

/// An operator has decided what becomes of it.
fn uncertain_until(decision: Event) -> Vec<Event> {
    let unknown = Event::OutcomeUnknown { attempt: 1, fault: fault(Code::NetworkTimeout) };
    vec![Event::Published, begun(1), unknown, decision]
}

fn sent_again(decision: Event) -> Vec<Event> {
    [uncertain_until(decision), vec![Event::Published, begun(2), answered(2)]].concat()
}

fn found(finding: Finding) -> Event {
    Event::Resolved { by: "A. Operator".into(), seen: 1, finding }
}

const READ: usize = 0;
const IDEMPOTENT: usize = 1;
const LOOKUP: usize = 2;
const ONCE: usize = 3;
const UNCERTAIN: usize = 4;
const EXPIRED: usize = 5;
const REPLAYED: usize = 6;
const FOUND_UNDONE: usize = 7;
const FOUND_DONE: usize = 8;
const DISCARDED: usize = 9;

/// One of each kind, as it should be.
fn sound() -> Evidence {
    let unknown = Event::OutcomeUnknown { attempt: 1, fault: fault(Code::NetworkTimeout) };
    let replayed = Event::Replayed { by: "A. Operator".into(), accepts_repeat: Some(1) };
    let done = found(Finding::Happened { answer: None });
    let discarded = Event::Discarded { by: "A. Operator".into() };
    let deadline = Event::DeadlinePassed;
    let seen = vec![
        life(Effect::Read, "person-lookup", vec![Event::Published, begun(1), answered(1)]),
        life(Effect::Idempotent, "civil-status-extract", retried()),
        life(Effect::Lookup, "legal-event", retried()),
        life(Effect::Once, "certified-extract", vec![Event::Published, begun(1), answered(1)]),
        life(Effect::Once, "certified-extract", vec![Event::Published, begun(1), unknown]),
        life(Effect::Once, "certified-extract", vec![Event::Published, deadline]),
        life(Effect::Once, "certified-extract", sent_again(replayed)),
        life(Effect::Once, "certified-extract", sent_again(found(Finding::DidNotHappen))),
        life(Effect::Once, "certified-extract", uncertain_until(done)),
        life(Effect::Once, "certified-extract", uncertain_until(discarded)),
    ];
    let mut evidence = Evidence { seen, ..Evidence::default() };
    for number in [IDEMPOTENT, LOOKUP, ONCE, UNCERTAIN, REPLAYED, FOUND_UNDONE, FOUND_DONE, DISCARDED] {
        do_it(&mut evidence, number);
        arrive(&mut evidence, number);
    }
    for number in [IDEMPOTENT, REPLAYED, FOUND_UNDONE] {
        arrive(&mut evidence, number);
    }
    // An operator may take his time.
    let expired_at = evidence.seen[FOUND_DONE].expires_at;
    evidence.seen[FOUND_DONE].changed_at = expired_at + SignedDuration::from_hours(1);
    let post = |seen: &Seen| Posting {
        key: format!("key of {}", seen.id),
        service: seen.service.clone(),
        numbers: vec![seen.id.clone()],
    };
    evidence.postings = evidence.seen.iter().map(post).collect();
    let letter = Letter { submission: Some(evidence.seen[READ].id.clone()), came_too_often: true };
    evidence.queues = vec![Queue { name: "dead".into(), messages: 2, explained: 1, letters: vec![letter] }];
    (evidence.deaths_of_takers, evidence.delivery_limit) = (21, 20);
    let rest = Footprint { resident_kib: 60_000, handles: 40 };
    evidence.footprints = vec![("worker".into(), rest, rest)];
    evidence
}

fn do_it(evidence: &mut Evidence, number: usize) {
    let seen = &evidence.seen[number];
    evidence.effects.push(LedgerEntry {
        entry: evidence.effects.len(),
        operation: seen.service.parse().unwrap(),
        reference: Some(seen.id.clone()),
        at: at(2),
        times_seen: 1,
        traceparent: None,
    });
}

fn arrive(evidence: &mut Evidence, number: usize) {
    let seen = &evidence.seen[number];
    let (operation, reference) = (seen.service.parse().unwrap(), Some(seen.id.clone()));
    evidence.arrivals.push(Arrival { operation, reference, at: at(2), is_question: false, traceparent: None });
}

type Lie = (Invariant, &'static str, fn(&mut Evidence));

const LIES: &[Lie] = &[
    (Invariant::NothingLostOrMadeUp, "a number is not in the journal", |it| {
        it.seen.remove(READ);
    }),
    (Invariant::NothingLostOrMadeUp, "one key got two numbers", |it| {
        let other = it.postings.remove(READ).numbers;
        it.postings[0].numbers.extend(other);
    }),
    (Invariant::NothingLostOrMadeUp, "two keys got one number", |it| {
        it.postings[ONCE].numbers = it.postings[UNCERTAIN].numbers.clone();
    }),
    (Invariant::NothingLostOrMadeUp, "the journal has more than was asked for", |it| {
        it.postings.remove(READ);
    }),
    (Invariant::NothingLostOrMadeUp, "a number stands for something else", |it| {
        it.postings[READ].service = "legal-event".into();
    }),
    (Invariant::NothingLostOrMadeUp, "an agency did what nobody asked for", |it| {
        it.effects[0].reference = Some(SubmissionId::new().to_string());
    }),
    (Invariant::EndsInTime, "one has not ended", |it| {
        it.seen[READ] = life(Effect::Read, "person-lookup", vec![Event::Published, begun(1)]);
        it.postings[READ].numbers = vec![it.seen[READ].id.clone()];
    }),
    (Invariant::EndsInTime, "one has ended long after its deadline", |it| {
        it.seen[READ].changed_at = it.seen[READ].expires_at + SignedDuration::from_secs(61);
    }),
    (Invariant::EffectsAsDeclared, "an idempotent one was done twice", |it| do_it(it, IDEMPOTENT)),
    (Invariant::EffectsAsDeclared, "a looked-up one was done twice", |it| do_it(it, LOOKUP)),
    (Invariant::EffectsAsDeclared, "a `once` was done twice", |it| do_it(it, ONCE)),
    (Invariant::EffectsAsDeclared, "an uncertain one was done twice", |it| do_it(it, UNCERTAIN)),
    (Invariant::EffectsAsDeclared, "a completed one was never done", |it| {
        it.effects.remove(0);
    }),
    (Invariant::EffectsAsDeclared, "an expired one was done", |it| do_it(it, EXPIRED)),
    (Invariant::EffectsAsDeclared, "a read is completed without an answer", |it| {
        it.seen[READ].attempts[0].outcome = None
    }),
    (Invariant::DoubtIsShown, "what was done is parked without a doubt", |it| {
        let given_up = Event::GivenUp { attempt: 1, fault: fault(Code::TemplateFailed) };
        it.seen[ONCE] = life(Effect::Once, "certified-extract", vec![Event::Published, begun(1), given_up]);
        it.postings[ONCE].numbers = vec![it.seen[ONCE].id.clone()];
        it.effects.retain(|effect| it.seen.iter().any(|seen| effect.reference.as_ref() == Some(&seen.id)));
        do_it(it, ONCE);
    }),
    (Invariant::DoubtIsShown, "an unknown outcome of a `once` was never shown", |it| {
        let outcome = AttemptOutcome::Failed { fault: fault(Code::NetworkTimeout) };
        it.seen[ONCE].attempts[0].outcome = Some(outcome);
    }),
    (Invariant::DoubtIsShown, "uncertain and not in doubt", |it| it.seen[UNCERTAIN].progress.in_doubt = false),
    (Invariant::UncertainIsNotSentAgain, "an uncertain one is queued again", |it| {
        let seen = &mut it.seen[UNCERTAIN];
        let change = Change {
            at: at(9),
            from: Some(StateName::Uncertain),
            to: StateName::Accepted,
            cause: "requeued".into(),
            by: None,
        };
        seen.timeline.push(change);
    }),
    (Invariant::UncertainIsNotSentAgain, "the machine has replayed an uncertain one", |it| {
        it.seen[REPLAYED].timeline[4].by = Some(Actor::Machine);
    }),
    (Invariant::UncertainIsNotSentAgain, "it came twice in one attempt", |it| arrive(it, UNCERTAIN)),
    (Invariant::TimelineAndStateAgree, "the timeline ends elsewhere", |it| {
        it.seen[READ].timeline.pop();
    }),
    (Invariant::TimelineAndStateAgree, "a change is missing", |it| {
        it.seen[READ].timeline.remove(1);
    }),
    (Invariant::TimelineAndStateAgree, "a change is not in the table", |it| {
        it.seen[READ].timeline[2].cause = "published".into();
    }),
    (Invariant::TimelineAndStateAgree, "an attempt is counted that was not made", |it| {
        it.seen[READ].progress.attempts = 2;
    }),
    (Invariant::TimelineAndStateAgree, "a doubt is forgotten", |it| it.seen[LOOKUP].progress.in_doubt = true),
    (Invariant::QueuesAreExplained, "a message is left", |it| it.queues[0].messages = 3),
    (Invariant::QueuesAreExplained, "the outbox is not empty", |it| it.next_due = Some(at(9))),
    (Invariant::QueuesAreExplained, "a dead letter did not come too often", |it| {
        it.queues[0].letters[0].came_too_often = false;
    }),
    (Invariant::QueuesAreExplained, "a dead letter came too often, and few have died", |it| it.deaths_of_takers = 20),
    (Invariant::QueuesAreExplained, "a dead letter is about nothing that the journal knows", |it| {
        it.queues[0].letters[0].submission = None;
    }),
    (Invariant::QueuesAreExplained, "a dead letter was still needed", |it| {
        it.seen[READ] = life(Effect::Read, "person-lookup", vec![Event::Published]);
        it.queues[0].letters[0].submission = Some(it.seen[READ].id.clone());
    }),
    (Invariant::ReturnsToRest, "handles are left", |it| it.footprints[0].2.handles += 25),
    (Invariant::ReturnsToRest, "memory is left", |it| it.footprints[0].2.resident_kib += 25_000),
];

#[test]
fn sound_ledgers_pass_the_checker() {
    assert_eq!(check(&sound()), []);
}

#[test]
fn every_lie_in_a_ledger_is_found_and_called_by_its_name() {
    for (invariant, lie, tell) in LIES {
        let mut evidence = sound();
        tell(&mut evidence);
        let found = check(&evidence);
        assert!(found.iter().any(|it| it.invariant == *invariant), "{lie}: {found:#?}");
    }
}

#[test]
fn there_is_a_lie_about_every_invariant() {
    let told: BTreeSet<_> = LIES.iter().map(|(invariant, ..)| *invariant).collect();
    assert_eq!(told, BTreeSet::from(Invariant::ALL));
}
