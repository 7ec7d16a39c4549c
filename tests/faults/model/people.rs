//! People: an office that takes its submission back, and an operator who replays or discards. The deadline stands here too:
//! it was people who set it.

use super::{moves::Model, town::Town};
use punte::domain::Event;

pub const OFFICE: &str = "office";
pub const OPERATOR: &str = "operator";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    Cancel,
    /// Not done where the effect may repeat.
    Replay,
    ReplayThoughItMayRepeat,
    Discard,
}

pub const MOVES: [Move; 4] = [Move::Cancel, Move::Replay, Move::ReplayThoughItMayRepeat, Move::Discard];

pub fn step(model: &Model, town: &mut Town, it: Move) -> Option<()> {
    let may_repeat = (model.rules.may_repeat)(&town.journal.progress, model.effect);
    let event = match it {
        Move::Cancel => Event::CancelledByOffice { by: OFFICE.into() },
        Move::Discard => Event::Discarded { by: OPERATOR.into() },
        Move::Replay if may_repeat => return None,
        Move::ReplayThoughItMayRepeat if !may_repeat => return None,
        Move::Replay => {
            town.replays_left = town.replays_left.checked_sub(1)?;
            Event::Replayed
        }
        Move::ReplayThoughItMayRepeat => {
            town.replays_left = town.replays_left.checked_sub(1)?;
            town.repeats_allowed += 1;
            Event::Replayed
        }
    };
    model.record(town, event).then_some(())
}
