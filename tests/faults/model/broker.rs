//! Broker: the outbox's way into the queue, with a relay that may die or freeze between any two steps.

use super::{
    moves::{Model, goes_wrong},
    town::{Doubt, Relay, Town},
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
    /// A lane that stops puts a message back into the outbox.
    LanePutsBack,
}

pub const MOVES: [Move; 7] = [
    Move::RelayClaims,
    Move::RelayPublishes,
    Move::RelayConfirms,
    Move::RelayCrashes,
    Move::ClaimRunsOut,
    Move::LosesAll,
    Move::LanePutsBack,
];

pub fn step(model: &Model, town: &mut Town, it: Move) -> Option<()> {
    match it {
        Move::RelayClaims => {
            let row = town.journal.outbox.as_mut().filter(|row| !row.claimed)?;
            let is_due = !row.waits_for_agency || town.journal.doubt != Doubt::Fresh;
            (town.relay == Relay::Idle && is_due).then_some(())?;
            (row.claimed, row.was_claimed) = (true, true);
            town.relay = Relay::Claimed;
        }
        Move::RelayPublishes => {
            (town.relay == Relay::Claimed).then_some(())?;
            town.ready += 1;
            town.relay = Relay::Published;
        }
        Move::RelayConfirms => {
            (town.relay == Relay::Published).then_some(())?;
            town.relay = Relay::Idle;
            if is_confirmed(model, town) {
                model.record(town, Event::Published);
            }
        }
        Move::RelayCrashes => {
            (town.relay != Relay::Idle).then_some(())?;
            goes_wrong(town)?;
            town.relay = Relay::Idle;
        }
        Move::ClaimRunsOut => {
            town.journal.outbox.filter(|row| row.claimed)?;
            if town.relay != Relay::Idle {
                // The relay is frozen, and goes on later.
                goes_wrong(town)?;
            }
            town.journal.outbox.as_mut()?.claimed = false;
        }
        Move::LosesAll => {
            (town.ready > 0 || town.workers.iter().any(|worker| worker.holds_message)).then_some(())?;
            goes_wrong(town)?;
            town.ready = 0;
            town.workers.iter_mut().for_each(|worker| worker.holds_message = false);
        }
        Move::LanePutsBack => {
            (town.ready > 0 && town.acceptance.is_in_journal()).then_some(())?;
            // Once is as good as many times, and a lane stops only when something has failed.
            goes_wrong(town)?;
            town.ready -= 1;
            model.record(town, Event::GivenBack);
        }
    }
    Some(())
}

/// The condition of the journal's statement for `published`.
fn is_confirmed(model: &Model, town: &Town) -> bool {
    let was_claimed = town.journal.outbox.is_some_and(|row| row.was_claimed);
    town.state() == StateName::Accepted && (was_claimed || !model.rules.order.confirms_only_what_is_claimed)
}
