//! Rules: what the model lets Punte decide. Production's own functions by default; a test may put a broken one in place.

use jiff::{SignedDuration, Timestamp};
use punte::{
    adapter::Reading,
    delivery::{Asked, Case, after_asking, is_to_do, leases_first, may_leave, settle, unsendable},
    domain::{Effect, Event, Facts, Fault, Forbidden, Progress, Schedule, StateName, apply},
    roles::scheduler::{after_due_time, missing},
};
use std::time::Duration;

pub type Outcome = Result<Reading, Fault>;

#[derive(Clone)]
pub struct Rules {
    pub apply: fn(&Progress, Facts, Event) -> Result<Progress, Forbidden>,
    pub is_to_do: fn(StateName) -> bool,
    pub unsendable: fn(Fault) -> Event,
    pub asks_first: fn(Effect, &Progress) -> bool,
    /// How long it has been known that the submission is to be sent.
    pub leases_first: fn(Effect, SignedDuration) -> bool,
    pub after_asking: fn(Outcome, Timestamp, Timestamp) -> Asked,
    pub may_leave: fn(Timestamp, Duration, Timestamp) -> bool,
    pub settle: for<'a> fn(Outcome, Case<'a>) -> Event,
    pub after_due_time: fn(&Progress, Effect, &Schedule, Timestamp) -> Option<Event>,
    pub missing: fn(u64, u64) -> u64,
    /// In production's order of steps these are so; they have no function of their own.
    pub order: Order,
}

#[derive(Clone, Copy)]
pub struct Order {
    /// "Not seen" speaks of the moment at which it was asked, not of that at which the answer came.
    pub judges_by_the_time_of_asking: bool,
    /// The worker is not frozen just between the look at its lease and the first byte on the wire.
    pub looks_and_sends_at_once: bool,
    /// A worker whose message is quicker than the journal waits for it.
    pub waits_for_the_journal: bool,
    /// A confirm moves only what the relay has claimed.
    pub confirms_only_what_is_claimed: bool,
}

impl Rules {
    pub fn of_production() -> Self {
        Self {
            apply,
            is_to_do,
            unsendable,
            asks_first: |effect, progress| progress.is_to_be_asked_about(effect),
            leases_first,
            after_asking,
            may_leave,
            settle,
            after_due_time,
            missing,
            order: Order {
                judges_by_the_time_of_asking: true,
                looks_and_sends_at_once: true,
                waits_for_the_journal: true,
                confirms_only_what_is_claimed: true,
            },
        }
    }
}

pub const START: Timestamp = Timestamp::UNIX_EPOCH;
/// How long an exchange may take.
pub const TIMEOUT: Duration = Duration::from_secs(60);

pub fn after_start(seconds: i64) -> Timestamp {
    START.saturating_add(SignedDuration::from_secs(seconds)).unwrap()
}

/// Every lease of the model ends here; time itself is abstract.
pub fn lease_end() -> Timestamp {
    after_start(75)
}

pub fn schedule(tries: u32) -> Schedule {
    let seconds = Duration::from_secs;
    Schedule::new(seconds(10), seconds(100), 2.0, 0.0, tries, seconds(100)).unwrap()
}
