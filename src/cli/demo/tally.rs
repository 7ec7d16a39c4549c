//! What came of the demo: how many submissions ended as planned, and what each agency's queues carried.

use crate::domain::{AgencyName, Priority};
use std::collections::BTreeMap;

/// What came of it.
pub struct DemoResult {
    pub cases: usize,
    pub as_planned: usize,
    pub tallies: Tallies,
}

/// Counted from the timelines: how many messages each agency's queues carried to the worker, urgent work apart. The worker
/// may be quicker than the note that the broker has confirmed a message, so `queued` is not always there to be counted.
pub type Tallies = BTreeMap<(AgencyName, Priority), usize>;

impl DemoResult {
    pub fn is_as_planned(&self) -> bool {
        self.as_planned == self.cases
    }

    pub fn in_words(&self) -> String {
        format!("{} of {} submissions ended as planned", self.as_planned, self.cases)
    }
}
