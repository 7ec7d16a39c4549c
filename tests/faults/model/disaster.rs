//! Disaster: the journal is lost, and a backup of some earlier moment takes its place. The world does not go back with it.

use super::{
    moves::Model,
    people::OPERATOR,
    worker,
    world::{Doubt, Relay, World},
};
use punte::domain::{Effect, Event};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    BacksUp,
    /// All processes end with it.
    PutsBackupInPlace,
    /// An operator says that it is an earlier one.
    Confirms,
}

pub const MOVES: [Move; 3] = [Move::BacksUp, Move::PutsBackupInPlace, Move::Confirms];

pub fn step(model: &Model, world: &mut World, it: Move) -> Option<()> {
    match it {
        Move::BacksUp => {
            (world.restores_left > 0 && world.backup.is_none() && world.acceptance.is_in_journal()).then_some(())?;
            world.backup = Some(Box::new(world.journal.clone()));
        }
        Move::PutsBackupInPlace => {
            let backup = world.backup.take()?;
            world.restores_left = world.restores_left.checked_sub(1)?;
            (0..world.workers.len()).for_each(|place| worker::dies(world, place));
            (world.relay, world.is_kept, world.is_held) = (Relay::Idle, false, true);
            world.journal = *backup;
            if world.agency.taken > world.journal.progress.attempts {
                // The journal knows of no such attempt: whatever the agency brings to it is nobody's.
                world.agency.taken = 0;
            }
            // The leases of the processes before end at the start of the next.
            world.journal.lease_over = true;
            if let Some(row) = &mut world.journal.outbox {
                row.claimed = false;
            }
        }
        Move::Confirms => {
            std::mem::take(&mut world.is_held).then_some(())?;
            // Of what is over, and of reads, there is nothing to say.
            model.record(world, Event::Restored { by: OPERATOR.into() });
            if model.effect == Effect::Lookup {
                // What was sent last may still be on its way, and the mark tells when that was.
                world.journal.doubt = Doubt::Fresh;
            }
        }
    }
    Some(())
}
