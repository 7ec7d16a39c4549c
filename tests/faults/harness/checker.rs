//! The ledgers of offices and agencies and the journal come in; every promise that they show broken goes out.

use super::{clients::Posting, process::Footprint, replay};
use jiff::{SignedDuration, Timestamp};
use punte::{
    domain::{Actor, Attempt, AttemptOutcome, Change, Effect, Progress, StateName},
    kit::simulator::{Arrival, LedgerEntry},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// All that is known, from outside of the processes.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The offices' ledger.
    pub postings: Vec<Posting>,
    /// The agencies' ledgers.
    pub effects: Vec<LedgerEntry>,
    pub arrivals: Vec<Arrival>,
    /// The journal.
    pub seen: Vec<Seen>,
    /// When the journal will have something to be done. What is settled is never due, but the outbox may hold it still.
    pub next_due: Option<Timestamp>,
    pub queues: Vec<Queue>,
    /// Deaths of processes that take messages, and how many of them RabbitMQ forgives a message.
    pub deaths_of_takers: u64,
    pub delivery_limit: u64,
    /// Of processes that have lived through it all: at rest before, at rest after.
    pub footprints: Vec<(String, Footprint, Footprint)>,
}

/// A submission as the journal has it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub id: String,
    pub service: String,
    pub effect: Effect,
    pub accepted_at: Timestamp,
    pub expires_at: Timestamp,
    pub changed_at: Timestamp,
    pub progress: Progress,
    pub timeline: Vec<Change>,
    pub attempts: Vec<Attempt>,
}

/// A queue of the broker when all is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub name: String,
    pub messages: u64,
    /// How many are meant to be there: poison that a test has made, for instance.
    pub explained: u64,
    /// The messages of a queue of dead letters.
    pub letters: Vec<Letter>,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub submission: Option<String>,
    /// RabbitMQ says that it was delivered more often than its limit.
    pub came_too_often: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Every number that an office has is in the journal, one for each key, and nothing else is.
    NothingLostOrMadeUp,
    /// Every submission is terminal or on an operator's list, within its deadline.
    EndsInTime,
    /// Exactly one effect of what is completed, none of what certainly was not done, never two; every `read` as answered.
    EffectsAsDeclared,
    /// Nothing that may have been done looks as if it had not been.
    DoubtIsShown,
    /// No attempt sends twice, and `uncertain` is left by an answer or an operator alone.
    UncertainIsNotSentAgain,
    /// The timeline, gone through again over the transition table, leads to the state.
    TimelineAndStateAgree,
    /// Every queue is empty or explained.
    QueuesAreExplained,
    /// Memory and handles are back where they were.
    ReturnsToRest,
}

impl Invariant {
    pub const ALL: [Invariant; 8] = [
        Invariant::NothingLostOrMadeUp,
        Invariant::EndsInTime,
        Invariant::EffectsAsDeclared,
        Invariant::DoubtIsShown,
        Invariant::UncertainIsNotSentAgain,
        Invariant::TimelineAndStateAgree,
        Invariant::QueuesAreExplained,
        Invariant::ReturnsToRest,
    ];
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    pub about: String,
}

/// The scheduler looks at deadlines five times a second, if it lives.
const DEADLINE_GRACE: SignedDuration = SignedDuration::from_secs(60);
const SPARE_HANDLES: u64 = 24;
const SPARE_KIB: u64 = 24 * 1024;

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let done = Done::of(evidence);
    let mut found = Vec::new();
    let mut report = |invariant, about: String| found.push(Violation { invariant, about });
    nothing_lost_or_made_up(evidence, &mut report);
    for seen in &evidence.seen {
        let mut of_this = |invariant, why: String| report(invariant, format!("{} {}: {why}", seen.service, seen.id));
        ends_in_time(seen, &mut of_this);
        effects_as_declared(seen, &done, &mut of_this);
        doubt_is_shown(seen, &done, &mut of_this);
        uncertain_is_not_sent_again(seen, &done, &mut of_this);
        if let Some(why) = replay::disagreement(seen) {
            of_this(Invariant::TimelineAndStateAgree, why);
        }
    }
    queues_are_explained(evidence, &mut report);
    for (name, before, after) in &evidence.footprints {
        if after.handles > before.handles + SPARE_HANDLES || after.resident_kib > before.resident_kib + SPARE_KIB {
            report(Invariant::ReturnsToRest, format!("{name}: {before:?} became {after:?}"));
        }
    }
    found
}

/// Whether every queue is as it should be at the end.
pub fn is_at_rest(evidence: &Evidence) -> bool {
    let mut is_at_rest = true;
    queues_are_explained(evidence, &mut |_, _| is_at_rest = false);
    is_at_rest
}

/// How often something was done, and came, by reference.
#[derive(Default)]
pub struct Done<'a> {
    effects: HashMap<&'a str, u64>,
    sent: HashMap<&'a str, u64>,
}

impl<'a> Done<'a> {
    pub fn of(evidence: &'a Evidence) -> Self {
        let mut done = Self::default();
        for reference in evidence.effects.iter().filter_map(|it| it.reference.as_deref()) {
            *done.effects.entry(reference).or_default() += 1;
        }
        for arrival in evidence.arrivals.iter().filter(|it| !it.is_question) {
            if let Some(reference) = &arrival.reference {
                *done.sent.entry(reference).or_default() += 1;
            }
        }
        done
    }

    pub fn effects(&self, id: &str) -> u64 {
        self.effects.get(id).copied().unwrap_or_default()
    }

    fn sent(&self, id: &str) -> u64 {
        self.sent.get(id).copied().unwrap_or_default()
    }
}

/// Numbers that an office was given and the journal does not know.
pub fn lost(evidence: &Evidence) -> Vec<&str> {
    let known: BTreeSet<&str> = evidence.seen.iter().map(|it| it.id.as_str()).collect();
    let numbers = evidence.postings.iter().flat_map(|posting| &posting.numbers);
    numbers.map(String::as_str).filter(|id| !known.contains(id)).collect()
}

fn nothing_lost_or_made_up(evidence: &Evidence, report: &mut impl FnMut(Invariant, String)) {
    let invariant = Invariant::NothingLostOrMadeUp;
    for id in lost(evidence) {
        report(invariant, format!("{id} was accepted and the journal does not know it"));
    }
    let services: BTreeMap<&str, &str> = evidence.seen.iter().map(|it| (it.id.as_str(), it.service.as_str())).collect();
    let mut owners = BTreeMap::new();
    for posting in &evidence.postings {
        if posting.numbers.len() > 1 {
            report(invariant, format!("one key got the numbers {:?}", posting.numbers));
        }
        for id in &posting.numbers {
            if owners.insert(id, &posting.key).is_some() {
                report(invariant, format!("{id} was given to two keys"));
            }
            if services.get(id.as_str()).is_some_and(|service| *service != posting.service) {
                report(invariant, format!("{id} was a {}", posting.service));
            }
        }
    }
    if evidence.seen.len() > evidence.postings.len() {
        let (journal, offices) = (evidence.seen.len(), evidence.postings.len());
        report(invariant, format!("{journal} submissions of {offices} requests"));
    }
    for effect in &evidence.effects {
        if effect.reference.as_ref().is_some_and(|id| !services.contains_key(id.as_str())) {
            report(invariant, format!("an agency has done {effect:?}, of which the journal knows nothing"));
        }
    }
}

fn ends_in_time(seen: &Seen, report: &mut impl FnMut(Invariant, String)) {
    let state = seen.progress.state.name();
    if !state.is_settled() {
        report(Invariant::EndsInTime, format!("it is still {state}"));
    } else if seen.changed_at > seen.expires_at + DEADLINE_GRACE && !was_decided_by_operator(seen) {
        report(Invariant::EndsInTime, format!("{state} at {}, due by {}", seen.changed_at, seen.expires_at));
    }
}

fn effects_as_declared(seen: &Seen, done: &Done<'_>, report: &mut impl FnMut(Invariant, String)) {
    let (state, times) = (seen.progress.state.name(), done.effects(&seen.id));
    let mut broken = |why: String| report(Invariant::EffectsAsDeclared, why);
    if seen.effect == Effect::Read {
        let answers = seen.attempts.iter().filter(|it| it.outcome == Some(AttemptOutcome::Answered)).count();
        if state == StateName::Completed && answers != 1 {
            broken(format!("a read is completed with {answers} answers"));
        }
        return;
    }
    match state {
        _ if times > 1 => broken(format!("done {times} times by an agency that was to do it once")),
        StateName::Completed if times == 0 => broken("completed, and no agency has done it".into()),
        StateName::Expired | StateName::Refused if times > 0 => broken(format!("{state}, and it was done")),
        StateName::Cancelled if times > 0 && !seen.progress.in_doubt => broken("cancelled, and it was done".into()),
        _ => {}
    }
}

fn doubt_is_shown(seen: &Seen, done: &Done<'_>, report: &mut impl FnMut(Invariant, String)) {
    let (state, in_doubt) = (seen.progress.state.name(), seen.progress.in_doubt);
    let mut broken = |why: &str| report(Invariant::DoubtIsShown, format!("{state}: {why}"));
    if seen.effect != Effect::Read && state == StateName::Parked && !in_doubt && done.effects(&seen.id) > 0 {
        broken("it was done, and no doubt is shown");
    }
    if seen.effect != Effect::Once {
        return;
    }
    let is_unknown = |attempt: &Attempt| matches!(&attempt.outcome, Some(AttemptOutcome::Failed { fault }) if fault.verdict.leaves_doubt());
    let was_shown = seen.timeline.iter().any(|change| change.to == StateName::Uncertain);
    let was_shown = was_shown || (in_doubt && state == StateName::Parked);
    if seen.attempts.iter().any(is_unknown) && !was_shown {
        broken("an attempt's outcome is unknown, and it was never shown as uncertain");
    }
    if state == StateName::Uncertain && !in_doubt {
        broken("uncertain without a doubt");
    }
}

fn uncertain_is_not_sent_again(seen: &Seen, done: &Done<'_>, report: &mut impl FnMut(Invariant, String)) {
    let mut broken = |why: String| report(Invariant::UncertainIsNotSentAgain, why);
    for change in seen.timeline.iter().filter(|change| change.from == Some(StateName::Uncertain)) {
        if !is_operators(change) && !matches!(change.to, StateName::Completed | StateName::Refused) {
            broken(format!("{change:?}"));
        }
    }
    let (sent, attempts) = (done.sent(&seen.id), u64::from(seen.progress.attempts));
    if sent > attempts {
        broken(format!("it was sent {sent} times in {attempts} attempts"));
    }
}

/// A message that was in the hands of more dying processes than its limit becomes a dead letter. That is well if the
/// journal did not need it any more.
fn queues_are_explained(evidence: &Evidence, report: &mut impl FnMut(Invariant, String)) {
    let settled = evidence.seen.iter().filter(|it| it.progress.state.name().is_settled());
    let settled: BTreeSet<&str> = settled.map(|it| it.id.as_str()).collect();
    if let Some(at) = evidence.next_due.filter(|_| settled.len() == evidence.seen.len()) {
        report(Invariant::QueuesAreExplained, format!("all is settled, and the outbox holds something for {at}"));
    }
    let known: BTreeSet<&str> = evidence.seen.iter().map(|it| it.id.as_str()).collect();
    let is_explained = |letter: &&Letter| {
        // What was published early, by a process that died before its journal had it, was never accepted.
        let is_over = |id: &str| settled.contains(id) || !known.contains(id);
        letter.submission.as_deref().is_some_and(is_over)
            && letter.came_too_often
            && evidence.deaths_of_takers > evidence.delivery_limit
    };
    for Queue { name, messages, explained, letters } in &evidence.queues {
        let explained = explained + letters.iter().filter(is_explained).count() as u64;
        if *messages > explained {
            let others: Vec<_> = letters.iter().filter(|letter| !is_explained(letter)).collect();
            let about = format!(
                "{messages} messages in {name}, {explained} explained, not these of {}: {others:?}",
                letters.len()
            );
            report(Invariant::QueuesAreExplained, about);
        }
    }
}

fn was_decided_by_operator(seen: &Seen) -> bool {
    seen.timeline.last().is_some_and(is_operators)
}

fn is_operators(change: &Change) -> bool {
    matches!(change.by, Some(Actor::Operator(_)))
}
