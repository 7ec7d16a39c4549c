//! Due times: submissions whose retry, lease or deadline has come go in, their next event is recorded.

use super::Scheduler;
use crate::{
    delivery::{Case, settle},
    domain::{Code, Effect, Event, Fault, Progress, Schedule, Stage, State, SubmissionId},
    failpoints::{self, Failpoint},
    journal::{Due, JournalError},
};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

const BATCH: u32 = 200;

/// How much of what is due has been seen to.
pub(super) enum Looked {
    All,
    Some,
}

/// Which of a submission's times has come.
enum Passed {
    /// Of its retry or its lease, and what is to be recorded then.
    DueTime(Event),
    Deadline,
}

/// `unkept`: those due that could not be recorded, so that each is told of once.
pub(super) async fn look(scheduler: &Scheduler, unkept: &mut BTreeSet<SubmissionId>) -> Result<Looked, JournalError> {
    let now = scheduler.clock.now();
    let due = scheduler.submissions.due(now, BATCH).await?;
    let overdue = scheduler.submissions.overdue(now, BATCH).await?;
    let after_due_time = due.iter().filter_map(|due| {
        let next = after_due_time(&due.progress, due.effect, of_its_agency(scheduler, due), scheduler.clock.now())?;
        Some((due, Passed::DueTime(next)))
    });
    let after_deadline = overdue.iter().map(|due| (due, Passed::Deadline));
    let is_full = due.len().max(overdue.len()) >= BATCH as usize;
    let mut is_any_kept = false;
    unkept.retain(|id| due.iter().chain(&overdue).any(|due| due.id == *id));
    for (due, passed) in after_due_time.chain(after_deadline) {
        match record(scheduler, due, passed).await {
            Err(error @ (JournalError::Unavailable(_) | JournalError::Suspended(_))) => return Err(error),
            // One row that cannot be read must not keep all others waiting.
            Err(error) if unkept.insert(due.id) => {
                tracing::error!(submission = %due.id, agency = %due.agency, %error, "its due time cannot be kept");
            }
            Err(_) => {}
            Ok(()) => is_any_kept = true,
        }
    }
    Ok(if is_full && is_any_kept { Looked::Some } else { Looked::All })
}

fn of_its_agency<'a>(scheduler: &'a Scheduler, due: &Due) -> &'a Schedule {
    let adapter = scheduler.adapters.agency(&due.agency);
    adapter.map_or(&scheduler.fallback_schedule, |adapter| &adapter.schedule)
}

/// What has to be recorded of a retry or a lease whose time has come.
pub fn after_due_time(progress: &Progress, effect: Effect, schedule: &Schedule, now: Timestamp) -> Option<Event> {
    match progress.state {
        State::Retrying { .. } => Some(Event::Requeued),
        State::Sending { attempt, .. } => {
            let fault = Fault::new(Code::Interrupted, Stage::Send, "the worker's lease ran out");
            let (tries, waiting_since) = (progress.tries, progress.waiting_since);
            let (is_halted, pause) = (false, SignedDuration::ZERO);
            Some(settle(Err(fault), Case { effect, attempt, tries, schedule, now, waiting_since, is_halted, pause }))
        }
        _ => None,
    }
}

async fn record(scheduler: &Scheduler, due: &Due, passed: Passed) -> Result<(), JournalError> {
    let (submissions, point) = (&scheduler.submissions, point_after(&passed));
    failpoints::hit(Failpoint::SchedulerDue);
    let recorded = match passed {
        Passed::DueTime(Event::Requeued) => submissions.requeue(due.id).await,
        Passed::DueTime(event) => submissions.end_lapsed(due.id, event).await,
        Passed::Deadline => submissions.expire(due.id).await,
    };
    match recorded {
        Ok(progress) => {
            failpoints::hit(point);
            tracing::info!(submission = %due.id, agency = %due.agency, state = %progress.state.name(), "due time passed");
            Ok(())
        }
        // A worker, an operator or another scheduler was faster.
        Err(JournalError::Forbidden(_) | JournalError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn point_after(passed: &Passed) -> Failpoint {
    match passed {
        Passed::DueTime(Event::Requeued) => Failpoint::SchedulerRequeued,
        Passed::DueTime(_) => Failpoint::SchedulerDecided,
        Passed::Deadline => Failpoint::SchedulerExpired,
    }
}
