//! Gateway: where a worker of the same process may have the message before the journal has its submission.

use super::{
    moves::goes_wrong,
    worker,
    world::{Acceptance, OutboxRow, Relay, World},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    Journals,
    /// The office hangs up meanwhile, and nobody hears that the journal has it.
    JournalsUnheard,
    /// The key came before, or the journal cannot be written.
    GivesUp,
    /// With all others in its process.
    Dies {
        journaled: bool,
    },
}

pub const MOVES: [Move; 5] = [
    Move::Journals,
    Move::JournalsUnheard,
    Move::GivesUp,
    Move::Dies { journaled: true },
    Move::Dies { journaled: false },
];

pub fn step(world: &mut World, it: Move) -> Option<()> {
    (world.acceptance == Acceptance::UnderWay).then_some(())?;
    world.acceptance = match it {
        Move::Journals => Acceptance::Accepted,
        Move::JournalsUnheard => Acceptance::Unheard,
        Move::GivesUp => Acceptance::Never,
        Move::Dies { journaled } => {
            goes_wrong(world)?;
            (0..world.workers.len()).for_each(|place| worker::dies(world, place));
            (world.relay, world.is_kept) = (Relay::Idle, false);
            if journaled { Acceptance::Accepted } else { Acceptance::Never }
        }
    };
    if world.acceptance.is_in_journal() {
        world.journal.outbox = Some(OutboxRow { claimed: true, was_claimed: true, waits_for_agency: false });
    }
    Some(())
}
