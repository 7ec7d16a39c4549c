//! `[scheduler]`: when a message of the broker counts as lost.

use super::{ConfigFaults, Document};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerSettings {
    /// A message that was published this long ago and not taken up is waiting in the broker, or lost.
    pub lost_after: SignedDuration,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    lost_after_secs: u32,
}

impl Default for Written {
    fn default() -> Self {
        Self { lost_after_secs: 60 }
    }
}

pub(super) fn read(main: &mut Document, faults: &mut ConfigFaults) -> Option<SchedulerSettings> {
    let written: Written = main.effective_section("scheduler", faults)?;
    if !(1..=3600).contains(&written.lost_after_secs) {
        faults.add(main.file(), "scheduler.lost_after_secs", "is out of range", "must be from 1 to 3600");
    }
    Some(SchedulerSettings { lost_after: SignedDuration::from_secs(written.lost_after_secs.into()) })
}
