//! Events: which of production's the model brings about. One that no move brings about would never be looked through.

use punte::domain::{Effect, EventName};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Whether a move brings it about, and whose. Exhaustive, so that a new event cannot be forgotten.
fn has_a_move(event: EventName, effect: Effect) -> bool {
    match event {
        // Of the broker: the relay's confirm.
        EventName::Published => true,
        // Of a worker, and of an agency that brings its answer later.
        EventName::Begun
        | EventName::Answered
        | EventName::RefusedByAgency
        | EventName::TakenByAgency
        | EventName::RetryPlanned
        | EventName::Deferred
        | EventName::HeldBack
        | EventName::KeptWaiting
        | EventName::GivenBack
        | EventName::PutBack
        | EventName::GivenUp
        | EventName::Parked => true,
        EventName::OutcomeUnknown => effect == Effect::Once,
        // Of the scheduler, and of a process that is alone with its journal and begins.
        EventName::LeaseVoided => true,
        EventName::Requeued | EventName::DeadlinePassed => true,
        // Of people. A read has no effect that an operator could repeat, but one can find out that it was done.
        EventName::CancelledByOffice | EventName::Discarded | EventName::Resolved => true,
        EventName::Replayed => effect != Effect::Read,
        // Only where a journal is lost; those models are looked through apart.
        EventName::Restored => false,
    }
}

/// All that has to come to pass while a model with such an effect is looked through.
pub fn of(effect: Effect) -> Vec<EventName> {
    EventName::ALL.into_iter().filter(|event| has_a_move(*event, effect)).collect()
}

/// What has been recorded in any world so far.
#[derive(Clone, Default)]
pub struct Recorded(Arc<AtomicU32>);

impl Recorded {
    pub fn note(&self, event: EventName) {
        self.0.fetch_or(bit(event), Ordering::Relaxed);
    }

    pub fn events(&self) -> Vec<EventName> {
        let bits = self.0.load(Ordering::Relaxed);
        EventName::ALL.into_iter().filter(|event| bits & bit(*event) != 0).collect()
    }
}

fn bit(event: EventName) -> u32 {
    1 << event as u32
}

#[test]
fn every_event_is_in_the_list_and_can_be_brought_about() {
    for (place, event) in EventName::ALL.into_iter().enumerate() {
        assert_eq!(event as usize, place, "{event:?}");
        let is_apart = event == EventName::Restored;
        assert!(is_apart || Effect::ALL.into_iter().any(|effect| has_a_move(event, effect)), "{event:?}");
    }
    // The last variant's place: a new one that is not in the list shows here.
    assert_eq!(EventName::Restored as usize + 1, EventName::ALL.len());
}
