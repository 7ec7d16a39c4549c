//! Moves: everything that may happen next in a world. What each of them does stands with its actor.

use super::{
    agency, broker, disaster,
    events::Recorded,
    gateway, people,
    rules::{Rules, schedule},
    scheduler, worker,
    world::{Acceptance, Breach, Doubt, OutboxRow, Step, World},
};
use punte::{
    domain::{AttemptOutcome, Effect, Event, EventName, Facts, Schedule, StateName},
    journal::SideRows,
};

#[derive(Clone)]
pub struct Model {
    pub rules: Rules,
    pub effect: Effect,
    pub schedule: Schedule,
    pub workers: u8,
    pub faults: u8,
    pub replays: u8,
    pub restores: u8,
    pub recorded: Recorded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    Gateway(gateway::Move),
    Broker(broker::Move),
    /// By the worker in this place.
    Worker(usize, worker::Move),
    Agency(agency::Move),
    Scheduler(scheduler::Move),
    People(people::Move),
    Disaster(disaster::Move),
}

impl Model {
    pub fn new(effect: Effect, workers: u8, tries: u32) -> Self {
        let rules = Rules::of_production();
        let (schedule, recorded) = (schedule(tries), Recorded::default());
        Self { rules, effect, schedule, workers, faults: 2, replays: 1, restores: 0, recorded }
    }

    /// Records an event as the journal does, in one transaction: the progress and the rows beside it. `false`: forbidden, or
    /// there is no such submission.
    pub fn record(&self, world: &mut World, event: Event) -> bool {
        let facts = Facts { is_overdue: world.deadline_passed, ..self.effect.into() };
        self.record_with(world, facts, event)
    }

    /// It came to pass earlier than it is recorded.
    pub fn record_of_before_deadline(&self, world: &mut World, event: Event) -> bool {
        self.record_with(world, self.effect.into(), event)
    }

    fn record_with(&self, world: &mut World, facts: Facts, event: Event) -> bool {
        if !world.acceptance.is_in_journal() {
            return false;
        }
        let Ok(after) = (self.rules.apply)(&world.journal.progress, facts, event.clone()) else {
            return false;
        };
        self.recorded.note(event.name());
        let before = std::mem::replace(&mut world.journal.progress, after);
        let side = SideRows::of(&before, &event, &world.journal.progress);
        let journal = &mut world.journal;
        match side.outbox {
            Some(true) => {
                let waits_for_agency = event.name() == EventName::PutBack;
                journal.outbox = Some(OutboxRow { claimed: false, was_claimed: false, waits_for_agency });
            }
            Some(false) => journal.outbox = None,
            None => {}
        }
        if side.begun.is_some() {
            journal.lease_over = false;
        }
        journal.retry_due = false;
        if matches!(side.ended, Some((_, AttemptOutcome::Failed { fault })) if fault.verdict.leaves_doubt()) {
            journal.doubt = Doubt::Fresh;
        }
        journal.forget_words();
        let (from, to) = (before.state.name(), world.state());
        if from.is_terminal() && to != from {
            world.breach = Some(Breach::AnEndHasChanged);
        }
        let may_leave = matches!(
            event.name(),
            EventName::Answered
                | EventName::RefusedByAgency
                | EventName::Replayed
                | EventName::Resolved
                | EventName::Discarded
        );
        if from == StateName::Uncertain && !may_leave {
            world.breach = Some(Breach::TheMachineLeftUncertain);
        }
        true
    }

    /// What cannot matter any more is forgotten, so that fewer worlds differ.
    fn forget(&self, world: &mut World) {
        if world.state() != StateName::Sending {
            world.journal.lease_over = false;
        }
        let may_be_told = world.is_kept || world.workers.iter().any(|it| it.step == Step::Waits);
        if world.acceptance == Acceptance::Unheard && !may_be_told {
            world.acceptance = Acceptance::Accepted;
        }
        if self.effect != Effect::Lookup {
            world.journal.doubt = Doubt::None;
        }
        for worker in &mut world.workers {
            let is_over = matches!(worker.step, Step::Heard { .. });
            if let Some(turn) = worker.step.turn_mut() {
                turn.kept &= !turn.recorded && !is_over;
            }
        }
        if world.state().is_terminal() {
            world.journal.doubt = Doubt::None;
            if world.restores_left == 0 {
                (world.deadline_passed, world.faults_left, world.replays_left) = (false, 0, 0);
            }
        }
    }

    /// Whether this move belongs to the ordinary course of things: nothing fails and no person acts.
    pub fn is_ordinary(it: Move) -> bool {
        match it {
            Move::Gateway(it) => it == gateway::Move::Journals,
            Move::Broker(it) => !matches!(it, broker::Move::RelayCrashes | broker::Move::LosesAll),
            Move::Worker(_, it) => !worker::is_fault(it),
            Move::Agency(_) | Move::Scheduler(_) => true,
            Move::People(_) => false,
            // Nobody is helped by waiting: an operator says that the journal is an earlier one.
            Move::Disaster(it) => it == disaster::Move::Confirms,
        }
    }
}

impl stateright::Model for Model {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        [World::new, World::early]
            .map(|begins| World { restores_left: self.restores, ..begins(self.workers, self.faults, self.replays) })
            .into()
    }

    fn actions(&self, world: &World, moves: &mut Vec<Move>) {
        moves.extend(gateway::MOVES.map(Move::Gateway));
        moves.extend(broker::MOVES.map(Move::Broker));
        for (place, worker) in world.workers.iter().enumerate() {
            // Workers in the same place of their work are one as good as the other.
            let is_twin = place > 0 && world.workers[place - 1] == *worker;
            if worker.step != Step::Absent && !is_twin {
                moves.extend(worker::moves(worker).into_iter().map(|it| Move::Worker(place, it)));
            }
        }
        moves.extend(agency::MOVES.map(Move::Agency));
        moves.extend(scheduler::MOVES.map(Move::Scheduler));
        moves.extend(people::MOVES.map(Move::People));
        moves.extend(disaster::MOVES.map(Move::Disaster));
    }

    fn next_state(&self, before: &World, it: Move) -> Option<World> {
        let mut world = before.clone();
        match it {
            Move::Gateway(_) | Move::Broker(_) | Move::Worker(..) | Move::Scheduler(_) | Move::People(_)
                if world.is_held =>
            {
                None
            }
            Move::Disaster(it) => disaster::step(self, &mut world, it),
            Move::Gateway(it) => gateway::step(&mut world, it),
            Move::Broker(it) => broker::step(self, &mut world, it),
            Move::Worker(place, it) => worker::step(self, &mut world, place, it),
            Move::Agency(it) => agency::step(self, &mut world, it),
            // Neither knows of it but from the journal.
            Move::Scheduler(_) | Move::People(_) if !world.acceptance.is_in_journal() => None,
            Move::Scheduler(it) => scheduler::step(self, &mut world, it),
            Move::People(it) => people::step(self, &mut world, it),
        }?;
        self.forget(&mut world);
        world.workers.sort_unstable();
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        super::properties::of(self.effect)
    }
}

/// One of the few faults that a run allows.
pub fn goes_wrong(world: &mut World) -> Option<()> {
    world.faults_left = world.faults_left.checked_sub(1)?;
    Some(())
}
