//! A retry schedule as it is written: seconds and factors come in, a valid [`Schedule`] goes out.

use super::{ConfigFaults, Document};
use crate::domain::{InvalidSchedule, Schedule};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Written in `punte.toml` for webhooks and in an agency's `agency.toml` for its operations.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleWritten {
    /// Wait after the first failed try, in seconds.
    pub first_wait_secs: f64,
    /// No wait is longer than this, in seconds.
    pub max_wait_secs: f64,
    /// Each wait is this many times the one before.
    pub factor: f64,
    /// The share by which a wait may be shorter or longer: 0.2 is ±20 %.
    pub jitter: f64,
    pub max_attempts: u32,
    /// How long a `Retry-After` of the other side is honoured at most, in seconds.
    pub max_retry_after_secs: f64,
}

impl Default for ScheduleWritten {
    fn default() -> Self {
        Self {
            first_wait_secs: 5.0,
            max_wait_secs: 1800.0,
            factor: 2.0,
            jitter: 0.2,
            max_attempts: 12,
            max_retry_after_secs: 3600.0,
        }
    }
}

impl ScheduleWritten {
    pub fn check(&self) -> Result<Schedule, InvalidSchedule> {
        let secs = |key, value: f64| {
            let remedy = "must be a number of seconds, 0 or more";
            Duration::try_from_secs_f64(value).map_err(|_| InvalidSchedule { key, remedy })
        };
        Schedule::new(
            secs("first_wait_secs", self.first_wait_secs)?,
            secs("max_wait_secs", self.max_wait_secs)?,
            self.factor,
            self.jitter,
            self.max_attempts,
            secs("max_retry_after_secs", self.max_retry_after_secs)?,
        )
    }
}

/// Keys of an agency's schedule that an installation sets anew; those that it leaves out stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleChanges {
    pub first_wait_secs: Option<f64>,
    pub max_wait_secs: Option<f64>,
    pub factor: Option<f64>,
    pub jitter: Option<f64>,
    pub max_attempts: Option<u32>,
    pub max_retry_after_secs: Option<f64>,
}

impl ScheduleChanges {
    /// The agency's own schedule with these keys in place of its own.
    pub fn over(&self, own: &ScheduleWritten) -> ScheduleWritten {
        ScheduleWritten {
            first_wait_secs: self.first_wait_secs.unwrap_or(own.first_wait_secs),
            max_wait_secs: self.max_wait_secs.unwrap_or(own.max_wait_secs),
            factor: self.factor.unwrap_or(own.factor),
            jitter: self.jitter.unwrap_or(own.jitter),
            max_attempts: self.max_attempts.unwrap_or(own.max_attempts),
            max_retry_after_secs: self.max_retry_after_secs.unwrap_or(own.max_retry_after_secs),
        }
    }
}

pub(super) fn read(document: &mut Document, name: &str, faults: &mut ConfigFaults) -> Option<Schedule> {
    let written: ScheduleWritten = document.effective_section(name, faults)?;
    match written.check() {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            faults.add(document.file(), format!("{name}.{}", error.key), "is out of range", error.remedy);
            None
        }
    }
}
