//! Properties: what must hold in every town that can be reached, and what must be reachable, or the model proves nothing.

use super::{
    moves::Model,
    people::OFFICE,
    town::{Acceptance, Came, Step, Town},
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
        Property::always(ONE_EFFECT, |model: &Model, town: &Town| {
            model.effect == Effect::Read || town.agency.effects <= 1 + town.repeats_allowed
        }),
        Property::always(NO_BREACH, |_, town: &Town| town.breach.is_none()),
        Property::always(COMPLETED, |_, town: &Town| town.state() != StateName::Completed || town.agency.effects > 0),
        Property::always(REFUSED, |_, town: &Town| town.state() != StateName::Refused || town.agency.refused),
        Property::always(NEVER_DONE, |model: &Model, town: &Town| {
            model.effect == Effect::Read || !is_given_back(town) || !town.is_done_or_taken()
        }),
        Property::always(NEVER_ACCEPTED, |_, town: &Town| {
            town.acceptance != Acceptance::Never || !(town.is_done_or_taken() || town.agency.strays > 0)
        }),
        Property::always(DOUBT_SHOWN, is_doubt_shown),
        Property::always(UNCERTAIN, |model: &Model, town: &Town| {
            town.state() != StateName::Uncertain || (model.effect == Effect::Once && town.journal.progress.in_doubt)
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
        all.push(Property::sometimes("parked in doubt", |_, town: &Town| {
            town.state() == StateName::Parked && town.journal.progress.in_doubt
        }));
    }
    all
}

fn is_given_back(town: &Town) -> bool {
    match &town.journal.progress.state {
        State::Expired { .. } => true,
        State::Cancelled { by } => by == OFFICE,
        _ => false,
    }
}

/// In no state in which nobody waits for the agency's word may it have acted, or may it still act, without a doubt.
fn is_doubt_shown(model: &Model, town: &Town) -> bool {
    let is_anywhere = town.is_done_or_taken() || town.agency.strays > 0;
    let is_open = match town.state() {
        StateName::Accepted | StateName::Queued | StateName::Retrying | StateName::Parked | StateName::Uncertain => {
            true
        }
        StateName::Expired | StateName::Cancelled => false,
        StateName::Sending | StateName::Waiting | StateName::Completed | StateName::Refused => false,
    };
    model.effect == Effect::Read || town.is_held || !is_open || !is_anywhere || town.journal.progress.in_doubt
}

fn reachable() -> [Property<Model>; 14] {
    [
        Property::sometimes("completed", |_, town: &Town| town.state() == StateName::Completed),
        Property::sometimes("refused", |_, town: &Town| town.state() == StateName::Refused),
        Property::sometimes("waiting", |_, town: &Town| town.state() == StateName::Waiting),
        Property::sometimes("expired", |_, town: &Town| town.state() == StateName::Expired),
        Property::sometimes("parked", |_, town: &Town| town.state() == StateName::Parked),
        Property::sometimes(
            "taken back",
            |_, town: &Town| matches!(&town.journal.progress.state, State::Cancelled { by } if by == OFFICE),
        ),
        Property::sometimes("two messages of one submission", |_, town: &Town| town.ready > 1),
        Property::sometimes("queued and nowhere in the broker", |_, town: &Town| {
            town.state() == StateName::Queued && town.ready == 0 && !town.workers.iter().any(|it| it.holds_message)
        }),
        Property::sometimes("delivered before the journal knows of the confirm", |_, town: &Town| {
            town.state() == StateName::Accepted && town.workers.iter().any(|it| matches!(it.step, Step::Found { .. }))
        }),
        Property::sometimes("delivered before the journal has it", |_, town: &Town| {
            town.workers.iter().any(|it| it.step == Step::Waits)
        }),
        Property::sometimes("dropped, because it was never accepted", |_, town: &Town| {
            town.acceptance == Acceptance::Never && town.ready == 0 && !town.workers.iter().any(|it| it.holds_message)
        }),
        Property::sometimes("an answer after the lease", |_, town: &Town| has_late(town, Came::Answered)),
        Property::sometimes("a lease that was over before it was sent", |_, town: &Town| {
            town.workers.iter().any(|it| matches!(it.step, Step::Heard { came: Came::LeaseOver, .. }))
        }),
        Property::sometimes("done, and nobody knows", |_, town: &Town| {
            town.agency.effects > 0 && matches!(town.state(), StateName::Retrying | StateName::Uncertain)
        }),
    ]
}

fn reachable_by_asking() -> [Property<Model>; 2] {
    [
        Property::sometimes("not seen, but too early", |_, town: &Town| {
            town.workers.iter().any(|it| matches!(it.step, Step::Heard { came: Came::TooEarly, .. }))
        }),
        Property::sometimes("never seen, and sent again", |_, town: &Town| {
            town.workers.iter().any(|it| matches!(it.step, Step::Sent { turn, .. } if turn.asks))
        }),
    ]
}

fn reachable_once() -> [Property<Model>; 3] {
    [
        Property::sometimes("uncertain", |_, town: &Town| town.state() == StateName::Uncertain),
        Property::sometimes("an answer that clears up what is uncertain", |_, town: &Town| {
            town.state() == StateName::Uncertain && has_late(town, Came::Answered)
        }),
        Property::sometimes("done twice, because an operator allowed it", |_, town: &Town| town.agency.effects == 2),
    ]
}

fn has_late(town: &Town, late: Came) -> bool {
    let is_late =
        |step: Step| matches!(step, Step::Heard { turn, came } if came == late && !town.is_sending(turn.attempt));
    town.workers.iter().any(|worker| is_late(worker.step)) && !town.state().is_terminal()
}
