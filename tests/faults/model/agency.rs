//! Agency: it does what it is sent, refuses it, takes it for later or fails; now, later, or after everybody has given up.

use super::{
    moves::Model,
    world::{Agency, Came, World},
};
use punte::{
    adapter::Reading,
    domain::{Answer, Effect, Event, Refusal},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    /// A request that nobody waits for any longer arrives after all.
    MeetsStray(Deed),
    StrayIsLost,
    /// It has done, or refused, what it had taken.
    Finishes {
        well: bool,
    },
    /// It brings its answer to what it had taken; it may do so again.
    BringsAnswer,
}

/// What an agency may make of a request. An answer that nobody can read is one that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    Does,
    Refuses,
    Takes,
    FailsForNow,
}

pub const DEEDS: [Deed; 4] = [Deed::Does, Deed::Refuses, Deed::Takes, Deed::FailsForNow];

/// Of what nobody hears, only the consequences count.
pub const MOVES: [Move; 7] = [
    Move::MeetsStray(Deed::Does),
    Move::MeetsStray(Deed::Refuses),
    Move::MeetsStray(Deed::Takes),
    Move::StrayIsLost,
    Move::Finishes { well: true },
    Move::Finishes { well: false },
    Move::BringsAnswer,
];

pub fn step(model: &Model, world: &mut World, it: Move) -> Option<()> {
    let agency = &mut world.agency;
    match it {
        Move::MeetsStray(deed) => {
            agency.strays = agency.strays.checked_sub(1)?;
            agency.act(model.effect, deed, agency.taken)?;
        }
        Move::StrayIsLost => agency.strays = agency.strays.checked_sub(1)?,
        Move::Finishes { well } => {
            agency.works.then_some(())?;
            agency.works = false;
            if well { agency.effects += 1 } else { agency.refused = true }
        }
        Move::BringsAnswer => {
            let Agency { taken: attempt, works: false, effects, .. } = *agency else { return None };
            let refusal = Refusal { code: String::new(), text: String::new() };
            let event = match effects {
                0 => Event::RefusedByAgency { attempt, refusal },
                _ => Event::Answered { attempt, answer: Answer(serde_json::Value::Null) },
            };
            (attempt > 0 && model.record(world, event)).then_some(())?;
        }
    }
    Some(())
}

impl Agency {
    /// `None`: it does not do so. What it recognises, it answers as before and does no second time.
    pub fn act(&mut self, effect: Effect, deed: Deed, attempt: u32) -> Option<Came> {
        if effect == Effect::Idempotent
            && let Some(known) = self.known()
        {
            return match (known, deed) {
                (Came::Answered, Deed::Does) | (Came::Refused, Deed::Refuses) => Some(known),
                (Came::Waiting, Deed::Takes) => {
                    self.taken = self.taken.max(attempt);
                    Some(known)
                }
                (_, Deed::FailsForNow) => Some(Came::Transient),
                _ => None,
            };
        }
        match deed {
            Deed::Does => {
                // More than three would only be more of the same; a read has nothing to count.
                self.effects = if effect == Effect::Read { 1 } else { (self.effects + 1).min(3) };
            }
            Deed::Refuses => self.refused = true,
            // It takes one at a time.
            Deed::Takes if self.works || self.taken > attempt => return None,
            Deed::Takes => (self.works, self.taken) = (true, attempt),
            Deed::FailsForNow => {}
        }
        Some(match deed {
            Deed::Does => Came::Answered,
            Deed::Refuses => Came::Refused,
            Deed::Takes => Came::Waiting,
            Deed::FailsForNow => Came::Transient,
        })
    }

    /// What it says to whoever asks by our reference.
    pub fn known(&self) -> Option<Came> {
        match self {
            Agency { effects: 1.., .. } => Some(Came::Answered),
            Agency { works: true, .. } => Some(Came::Waiting),
            Agency { refused: true, .. } => Some(Came::Refused),
            _ => None,
        }
    }
}

impl Came {
    /// As the step `read` says it.
    pub fn reading(self) -> Option<Reading> {
        let refusal = Refusal { code: String::new(), text: String::new() };
        let failed = Reading::Failed { code: String::new(), text: String::new(), transient: true };
        match self {
            Came::Answered => Some(Reading::Answered { answer: serde_json::Value::Null }),
            Came::Refused => Some(Reading::Refused { refusal }),
            Came::Waiting => Some(Reading::Waiting),
            Came::Transient => Some(failed),
            Came::NotSeen => Some(Reading::NotSeen),
            Came::Lost | Came::Blamed | Came::NotConnected | Came::NotAsked | Came::LeaseOver | Came::TooEarly => None,
        }
    }
}
