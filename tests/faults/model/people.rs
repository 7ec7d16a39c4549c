//! People: an office that takes its submission back, and an operator who replays or discards. The deadline stands here too:
//! it was people who set it.

use super::{moves::Model, world::World};
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

pub fn step(model: &Model, world: &mut World, it: Move) -> Option<()> {
    let progress = &world.journal.progress;
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
        world.replays_left = world.replays_left.checked_sub(1)?;
        world.repeats_allowed += u8::from(it == Move::ReplayThoughItMayRepeat);
    }
    model.record(world, event).then_some(())
}
