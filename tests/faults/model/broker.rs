//! Broker: the outbox's way into the queue, with a relay that may die or freeze between any two steps.

use super::{
    moves::{Model, goes_wrong},
    world::{Doubt, Relay, World},
};
use punte::domain::{Event, StateName};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    RelayClaims,
    RelayPublishes,
    RelayConfirms,
    RelayCrashes,
    ClaimRunsOut,
    LosesAll,
    /// A consumer that stops gives a message back to the outbox.
    ConsumerGivesBack,
}

pub const MOVES: [Move; 7] = [
    Move::RelayClaims,
    Move::RelayPublishes,
    Move::RelayConfirms,
    Move::RelayCrashes,
    Move::ClaimRunsOut,
    Move::LosesAll,
    Move::ConsumerGivesBack,
];

pub fn step(model: &Model, world: &mut World, it: Move) -> Option<()> {
    match it {
        Move::RelayClaims => {
            let row = world.journal.outbox.as_mut().filter(|row| !row.claimed)?;
            let is_due = !row.waits_for_agency || world.journal.doubt != Doubt::Fresh;
            (world.relay == Relay::Idle && is_due).then_some(())?;
            (row.claimed, row.was_claimed) = (true, true);
            world.relay = Relay::Claimed;
        }
        Move::RelayPublishes => {
            (world.relay == Relay::Claimed).then_some(())?;
            world.ready += 1;
            world.relay = Relay::Published;
        }
        Move::RelayConfirms => {
            (world.relay == Relay::Published).then_some(())?;
            world.relay = Relay::Idle;
            if is_confirmed(model, world) {
                model.record(world, Event::Published);
            }
        }
        Move::RelayCrashes => {
            (world.relay != Relay::Idle).then_some(())?;
            goes_wrong(world)?;
            world.relay = Relay::Idle;
        }
        Move::ClaimRunsOut => {
            world.journal.outbox.filter(|row| row.claimed)?;
            if world.relay != Relay::Idle {
                // The relay is frozen, and goes on later.
                goes_wrong(world)?;
            }
            world.journal.outbox.as_mut()?.claimed = false;
        }
        Move::LosesAll => {
            (world.ready > 0 || world.workers.iter().any(|worker| worker.holds_message)).then_some(())?;
            goes_wrong(world)?;
            world.ready = 0;
            world.workers.iter_mut().for_each(|worker| worker.holds_message = false);
        }
        Move::ConsumerGivesBack => {
            (world.ready > 0 && world.acceptance.is_in_journal()).then_some(())?;
            // Once is as good as many times, and a consumer stops only when something has failed.
            goes_wrong(world)?;
            world.ready -= 1;
            model.record(world, Event::GivenBack);
        }
    }
    Some(())
}

/// The condition of the journal's statement for `published`.
fn is_confirmed(model: &Model, world: &World) -> bool {
    let was_claimed = world.journal.outbox.is_some_and(|row| row.was_claimed);
    world.state() == StateName::Accepted && (was_claimed || !model.rules.order.confirms_only_what_is_claimed)
}
