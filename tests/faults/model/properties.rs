//! Properties: what must hold in every world that can be reached, and what must be reachable, or the model proves nothing.

use super::{
    moves::Model,
    people::OFFICE,
    world::{Acceptance, Came, Step, World},
};
use punte::domain::{Effect, State, StateName};
use stateright::Property;

pub const ONE_EFFECT: &str = "an effect happens once, unless an operator has allowed that it may repeat";
pub const NO_BREACH: &str =
    "only what is being sent leaves, but for reads; ends are final, and the machine lets uncertain rest";
pub const COMPLETED: &str = "completed means done";
pub const REFUSED: &str = "refused means that the agency said no";
pub const NEVER_DONE: &str = "what has expired or was taken back was never done";
pub const NEVER_ACCEPTED: &str = "what was never accepted is never done";
pub const DOUBT_SHOWN: &str = "whatever may be done without our knowing is in doubt";
pub const UNCERTAIN: &str = "uncertain is for what cannot be asked or recognised";

pub fn of(effect: Effect) -> Vec<Property<Model>> {
    let mut all = vec![
        Property::always(ONE_EFFECT, |model: &Model, world: &World| {
            model.effect == Effect::Read || world.agency.effects <= 1 + world.repeats_allowed
        }),
        Property::always(NO_BREACH, |_, world: &World| world.breach.is_none()),
        Property::always(COMPLETED, |_, world: &World| {
            world.state() != StateName::Completed || world.agency.effects > 0
        }),
        Property::always(REFUSED, |_, world: &World| world.state() != StateName::Refused || world.agency.refused),
        Property::always(NEVER_DONE, |model: &Model, world: &World| {
            model.effect == Effect::Read || !is_given_back(world) || !world.is_done_or_taken()
        }),
        Property::always(NEVER_ACCEPTED, |_, world: &World| {
            world.acceptance != Acceptance::Never || !(world.is_done_or_taken() || world.agency.strays > 0)
        }),
        Property::always(DOUBT_SHOWN, is_doubt_shown),
        Property::always(UNCERTAIN, |model: &Model, world: &World| {
            world.state() != StateName::Uncertain || (model.effect == Effect::Once && world.journal.progress.in_doubt)
        }),
    ];
    all.extend(reachable());
    match effect {
        Effect::Read => {}
        Effect::Idempotent => {}
        Effect::Lookup => all.extend(reachable_by_asking()),
        Effect::Once => all.extend(reachable_once()),
    }
    if effect != Effect::Read {
        all.push(Property::sometimes("parked in doubt", |_, world: &World| {
            world.state() == StateName::Parked && world.journal.progress.in_doubt
        }));
    }
    all
}

fn is_given_back(world: &World) -> bool {
    match &world.journal.progress.state {
        State::Expired { .. } => true,
        State::Cancelled { by } => by == OFFICE,
        _ => false,
    }
}

/// In no state in which nobody waits for the agency's word or has it may it have acted, or may it still act, without a doubt.
fn is_doubt_shown(model: &Model, world: &World) -> bool {
    let is_anywhere = world.is_done_or_taken() || world.agency.strays > 0;
    let waits_or_has_it = match world.state() {
        StateName::Sending | StateName::Waiting | StateName::Completed | StateName::Refused => true,
        StateName::Accepted
        | StateName::Queued
        | StateName::Retrying
        | StateName::Parked
        | StateName::Uncertain
        | StateName::Expired
        | StateName::Cancelled => false,
    };
    model.effect == Effect::Read || world.is_held || waits_or_has_it || !is_anywhere || world.journal.progress.in_doubt
}

fn reachable() -> [Property<Model>; 14] {
    [
        Property::sometimes("completed", |_, world: &World| world.state() == StateName::Completed),
        Property::sometimes("refused", |_, world: &World| world.state() == StateName::Refused),
        Property::sometimes("waiting", |_, world: &World| world.state() == StateName::Waiting),
        Property::sometimes("expired", |_, world: &World| world.state() == StateName::Expired),
        Property::sometimes("parked", |_, world: &World| world.state() == StateName::Parked),
        Property::sometimes(
            "taken back",
            |_, world: &World| matches!(&world.journal.progress.state, State::Cancelled { by } if by == OFFICE),
        ),
        Property::sometimes("two messages of one submission", |_, world: &World| world.ready > 1),
        Property::sometimes("queued and nowhere in the broker", |_, world: &World| {
            world.state() == StateName::Queued && world.ready == 0 && !world.workers.iter().any(|it| it.holds_message)
        }),
        Property::sometimes("delivered before the journal knows of the confirm", |_, world: &World| {
            world.state() == StateName::Accepted && world.workers.iter().any(|it| matches!(it.step, Step::Found { .. }))
        }),
        Property::sometimes("delivered before the journal has it", |_, world: &World| {
            world.workers.iter().any(|it| it.step == Step::Waits)
        }),
        Property::sometimes("dropped, because it was never accepted", |_, world: &World| {
            world.acceptance == Acceptance::Never
                && world.ready == 0
                && !world.workers.iter().any(|it| it.holds_message)
        }),
        Property::sometimes("an answer after the lease", |_, world: &World| has_late(world, Came::Answered)),
        Property::sometimes("a lease that was over before it was sent", |_, world: &World| {
            world.workers.iter().any(|it| matches!(it.step, Step::Heard { came: Came::LeaseOver, .. }))
        }),
        Property::sometimes("done, and nobody knows", |_, world: &World| {
            world.agency.effects > 0 && matches!(world.state(), StateName::Retrying | StateName::Uncertain)
        }),
    ]
}

fn reachable_by_asking() -> [Property<Model>; 2] {
    [
        Property::sometimes("not seen, but too early", |_, world: &World| {
            world.workers.iter().any(|it| matches!(it.step, Step::Heard { came: Came::TooEarly, .. }))
        }),
        Property::sometimes("never seen, and sent again", |_, world: &World| {
            world.workers.iter().any(|it| matches!(it.step, Step::Sent { turn, .. } if turn.asks))
        }),
    ]
}

fn reachable_once() -> [Property<Model>; 4] {
    [
        Property::sometimes("uncertain", |_, world: &World| world.state() == StateName::Uncertain),
        Property::sometimes("an answer that clears up what is uncertain", |_, world: &World| {
            world.state() == StateName::Uncertain && has_late(world, Came::Answered)
        }),
        Property::sometimes(
            "completed without an answer, because an operator has found it done",
            |_, world: &World| matches!(world.journal.progress.state, State::Completed { answer: None }),
        ),
        Property::sometimes("done twice, because an operator allowed it", |_, world: &World| world.agency.effects == 2),
    ]
}

fn has_late(world: &World, late: Came) -> bool {
    let is_late =
        |step: Step| matches!(step, Step::Heard { turn, came } if came == late && !world.is_sending(turn.attempt));
    world.workers.iter().any(|worker| is_late(worker.step)) && !world.state().is_terminal()
}
