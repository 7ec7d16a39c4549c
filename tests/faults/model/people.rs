//! People: an office that takes its submission back, and an operator who replays, resolves or discards. The deadline
//! stands here too: it was people who set it.

use super::{
    moves::Model,
    world::{Step, World},
};
use punte::domain::{Event, EventName, Finding};

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
    /// The operator has found out that the agency has done it.
    FindsItDone,
    /// That it has not, and that nothing is on its way any more.
    FindsItNotDone,
    /// The same, found out of an attempt that is no longer the last: another operator was quicker.
    FindsAnEarlierAttemptNotDone,
    HasItAskedAbout,
}

pub const MOVES: [Move; 9] = [
    Move::Cancel,
    Move::Replay,
    Move::ReplayThoughItMayRepeat,
    Move::ReplayOfAnEarlierAttempt,
    Move::Discard,
    Move::FindsItDone,
    Move::FindsItNotDone,
    Move::FindsAnEarlierAttemptNotDone,
    Move::HasItAskedAbout,
];

pub fn step(model: &Model, world: &mut World, it: Move) -> Option<()> {
    let progress = &world.journal.progress;
    let would_act_twice = progress.would_act_twice(model.effect);
    let replayed = |accepts_repeat| Event::Replayed { by: OPERATOR.into(), accepts_repeat };
    let resolved = |seen, finding| Event::Resolved { by: OPERATOR.into(), seen, finding };
    let event = match it {
        // An operator's word is true when it is given.
        Move::FindsItDone if world.agency.effects == 0 => return None,
        Move::FindsItNotDone if may_still_be_done(world) => return None,
        Move::FindsItDone => resolved(progress.attempts, Finding::Happened { answer: None }),
        Move::FindsItNotDone => resolved(progress.attempts, Finding::DidNotHappen),
        Move::FindsAnEarlierAttemptNotDone => resolved(progress.attempts.checked_sub(1)?, Finding::DidNotHappen),
        Move::HasItAskedAbout => resolved(progress.attempts, Finding::AskAgain),
        Move::Cancel => Event::CancelledByOffice { by: OFFICE.parse().unwrap() },
        Move::Discard => Event::Discarded { by: OPERATOR.into() },
        Move::ReplayThoughItMayRepeat | Move::ReplayOfAnEarlierAttempt if !would_act_twice => return None,
        Move::Replay => replayed(None),
        Move::ReplayThoughItMayRepeat => replayed(Some(progress.attempts)),
        Move::ReplayOfAnEarlierAttempt => replayed(Some(progress.attempts.checked_sub(1)?)),
    };
    if matches!(event.name(), EventName::Replayed | EventName::Resolved) && it != Move::FindsItDone {
        world.replays_left = world.replays_left.checked_sub(1)?;
        world.repeats_allowed += u8::from(it == Move::ReplayThoughItMayRepeat);
    }
    model.record(world, event).then_some(())
}

/// It was done, the agency has it in hand, or a request is still on its way there.
fn may_still_be_done(world: &World) -> bool {
    let may_arrive = |step: &Step| matches!(step, Step::Leaving(_) | Step::Sent { said: None, .. });
    world.is_done_or_taken() || world.agency.strays > 0 || world.workers.iter().any(|it| may_arrive(&it.step))
}
