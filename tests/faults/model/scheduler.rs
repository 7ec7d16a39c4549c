//! Scheduler: time passes in steps that matter (a lease, a retry, a deadline, an agency that must be through), and what
//! production makes of it is recorded.

use super::{
    moves::{Model, goes_wrong},
    rules::{START, lease_end},
    world::{Doubt, Step, Turn, World},
};
use punte::domain::{Code, Event, Fault, Stage, State, StateName};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    LeaseRunsOut,
    /// A process that is alone with the journal begins, after the one before has ended in the middle of an attempt.
    TakesOver,
    RetryFallsDue,
    AgencyMustBeThrough,
    DeadlinePasses,
    SeesDue,
    SeesDeadline,
    Reconciles,
    /// A worker whom the agency does not let in leaves it in the queue, and tells why it waits.
    TellsOfItsWait,
}

pub const MOVES: [Move; 9] = [
    Move::LeaseRunsOut,
    Move::TakesOver,
    Move::RetryFallsDue,
    Move::AgencyMustBeThrough,
    Move::DeadlinePasses,
    Move::SeesDue,
    Move::SeesDeadline,
    Move::Reconciles,
    Move::TellsOfItsWait,
];

pub fn step(model: &Model, world: &mut World, it: Move) -> Option<()> {
    let state = world.state();
    match it {
        Move::LeaseRunsOut => {
            (state == StateName::Sending && !world.journal.lease_over).then_some(())?;
            let current = world.journal.progress.attempts;
            let is_it = |turn: &Turn| turn.recorded && turn.attempt == current;
            if world.workers.iter_mut().any(|it| it.step.turn_mut().is_some_and(|turn| is_it(turn))) {
                // The worker is frozen, and goes on later.
                goes_wrong(world)?;
            }
            world.journal.lease_over = true;
            let turns = world.workers.iter_mut().filter_map(|worker| worker.step.turn_mut());
            turns.filter(|turn| is_it(turn)).for_each(|turn| turn.lease_over = true);
        }
        Move::TakesOver => {
            let is_anybody_there = world.workers.iter().any(|it| !matches!(it.step, Step::Idle | Step::Absent));
            (state == StateName::Sending && !world.journal.lease_over && !is_anybody_there).then_some(())?;
            let event = Event::LeaseVoided { attempt: world.journal.progress.attempts, at: lease_end() };
            model.record(world, event).then_some(())?;
            world.journal.lease_over = true;
        }
        Move::RetryFallsDue => {
            (state == StateName::Retrying).then_some(())?;
            world.journal.retry_due = true;
        }
        // That an agency acts within twice an exchange's time or never is what `lookup` rests on.
        Move::AgencyMustBeThrough => {
            (world.journal.doubt == Doubt::Fresh && !is_anything_on_its_way(world)).then_some(())?;
            world.journal.doubt = Doubt::Old;
        }
        Move::DeadlinePasses => {
            (!state.is_terminal()).then_some(())?;
            world.deadline_passed = true;
        }
        Move::SeesDue => {
            let is_due = match world.journal.progress.state {
                State::Sending { .. } => world.journal.lease_over,
                State::Retrying { .. } => world.journal.retry_due,
                _ => false,
            };
            is_due.then_some(())?;
            let event = (model.rules.after_due_time)(&world.journal.progress, model.effect, &model.schedule, START)?;
            model.record(world, event).then_some(())?;
        }
        Move::SeesDeadline => {
            world.deadline_passed.then_some(())?;
            model.record(world, Event::DeadlinePassed).then_some(())?;
        }
        Move::Reconciles => {
            let queued = u64::from(state == StateName::Queued);
            ((model.rules.missing)(queued, world.ready.into()) > 0).then_some(())?;
            if world.workers.iter().any(|it| it.holds_message) {
                // A worker has it in hand, and takes very long to begin.
                goes_wrong(world)?;
            }
            model.record(world, Event::Requeued).then_some(())?;
        }
        Move::TellsOfItsWait => {
            goes_wrong(world)?;
            let fault = Fault::new(Code::IdentityRefused, Stage::Seal, "");
            model.record(world, Event::KeptWaiting { since: START, fault }).then_some(())?;
        }
    }
    Some(())
}

fn is_anything_on_its_way(world: &World) -> bool {
    world.agency.strays > 0 || world.workers.iter().any(|it| matches!(it.step, Step::Sent { said: None, .. }))
}
