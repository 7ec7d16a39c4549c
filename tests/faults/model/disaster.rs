//! Disaster: the journal is lost, and a backup of some earlier moment takes its place. The world does not go back with it.

use super::{
    moves::Model,
    people::OPERATOR,
    town::{Doubt, Relay, Town},
    worker,
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

pub fn step(model: &Model, town: &mut Town, it: Move) -> Option<()> {
    match it {
        Move::BacksUp => {
            (town.restores_left > 0 && town.backup.is_none() && town.acceptance.is_in_journal()).then_some(())?;
            town.backup = Some(Box::new(town.journal.clone()));
        }
        Move::PutsBackupInPlace => {
            let backup = town.backup.take()?;
            town.restores_left = town.restores_left.checked_sub(1)?;
            (0..town.workers.len()).for_each(|place| worker::dies(town, place));
            (town.relay, town.is_kept, town.is_held) = (Relay::Idle, false, true);
            town.journal = *backup;
            if town.agency.taken > town.journal.progress.attempts {
                // The journal knows of no such attempt: whatever the agency brings to it is nobody's.
                town.agency.taken = 0;
            }
            // The leases of the processes before end at the start of the next.
            town.journal.lease_over = true;
            if let Some(row) = &mut town.journal.outbox {
                row.claimed = false;
            }
        }
        Move::Confirms => {
            std::mem::take(&mut town.is_held).then_some(())?;
            // Of what is over, and of reads, there is nothing to say.
            model.record(town, Event::Restored { by: OPERATOR.into() });
            if model.effect == Effect::Lookup {
                // What was sent last may still be on its way, and the mark tells when that was.
                town.journal.doubt = Doubt::Fresh;
            }
        }
    }
    Some(())
}
