//! Report: an attempt's end comes in, one log line and the metrics go out.

use crate::{
    domain::Event,
    journal::Record,
    telemetry::{AttemptEnd, Metrics},
};
use jiff::SignedDuration;
use std::time::Duration;

pub(super) fn report(metrics: &Metrics, record: &Record, event: &Event, took: SignedDuration) {
    let (id, agency) = (record.submission.id, &record.submission.agency);
    let took = Duration::try_from(took).unwrap_or_default();
    metrics.attempt(agency, attempt_end(event), took);
    match event {
        Event::RetryPlanned { fault, .. }
        | Event::Deferred { fault, .. }
        | Event::GivenUp { fault, .. }
        | Event::OutcomeUnknown { fault, .. } => {
            tracing::warn!(submission = %id, %agency, %fault, outcome = ?event.name(), "the attempt failed");
        }
        Event::PutBack { .. } => tracing::info!(submission = %id, %agency, "the attempt was put back unsent"),
        _ => {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(submission = %id, %agency, outcome = ?event.name(), took_ms, "the agency answered");
        }
    }
}

fn attempt_end(event: &Event) -> AttemptEnd {
    match event {
        Event::Answered { .. } => AttemptEnd::Answered,
        Event::RefusedByAgency { .. } => AttemptEnd::Refused,
        Event::TakenByAgency { .. } => AttemptEnd::Waiting,
        Event::PutBack { .. } => AttemptEnd::PutBack,
        Event::RetryPlanned { .. } | Event::Deferred { .. } => AttemptEnd::FailedRetry,
        Event::OutcomeUnknown { .. } => AttemptEnd::Unknown,
        _ => AttemptEnd::FailedForGood,
    }
}
