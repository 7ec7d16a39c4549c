//! People: an office that takes its submission back, and an operator who replays or discards. The deadline stands here too:
//! it was people who set it.

use super::{moves::Model, town::Town};
use punte::domain::{Event, EventName};

pub const OFFICE: &str = "office";
pub const OPERATOR: &str = "operator";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    Cancel,
    Replay,
    /// What it may have done by now may be done twice.
    ReplayThoughItMayRepeat,
    /// The same, said of an attempt that is no longer the last.
    ReplayOfAnEarlierAttempt,
    Discard,
}

pub const MOVES: [Move; 5] =
    [Move::Cancel, Move::Replay, Move::ReplayThoughItMayRepeat, Move::ReplayOfAnEarlierAttempt, Move::Discard];

pub fn step(model: &Model, town: &mut Town, it: Move) -> Option<()> {
    let progress = &town.journal.progress;
    let may_repeat = progress.may_repeat(model.effect);
    let replayed = |accepts_repeat| Event::Replayed { by: OPERATOR.into(), accepts_repeat };
    let event = match it {
        Move::Cancel => Event::CancelledByOffice { by: OFFICE.into() },
        Move::Discard => Event::Discarded { by: OPERATOR.into() },
        Move::ReplayThoughItMayRepeat | Move::ReplayOfAnEarlierAttempt if !may_repeat => return None,
        Move::Replay => replayed(None),
        Move::ReplayThoughItMayRepeat => replayed(Some(progress.attempts)),
        Move::ReplayOfAnEarlierAttempt => replayed(Some(progress.attempts.checked_sub(1)?)),
    };
    if event.name() == EventName::Replayed {
        town.replays_left = town.replays_left.checked_sub(1)?;
        town.repeats_allowed += u8::from(it == Move::ReplayThoughItMayRepeat);
    }
    model.record(town, event).then_some(())
}
