//! Due times: submissions whose retry, lease or deadline has come go in, their next event is recorded.

use super::Scheduler;
use crate::{
    crash::{self, Point},
    delivery::{Case, settle},
    domain::{Code, Effect, Event, Fault, Progress, Schedule, Stage, State, SubmissionId, Verdict},
    journal::{Due, Entry, JournalError},
};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

const BATCH: u32 = 200;

/// How much of what is due has been seen to.
pub(super) enum Looked {
    All,
    Some,
}

/// `unkept`: those due that could not be recorded, so that each is told of once.
pub(super) async fn look(scheduler: &Scheduler, unkept: &mut BTreeSet<SubmissionId>) -> Result<Looked, JournalError> {
    let now = scheduler.clock.now();
    let due = scheduler.journal.due(now, BATCH).await?;
    let overdue = scheduler.journal.overdue(now, BATCH).await?;
    let is_anything_requeued = due.iter().any(|due| matches!(due.progress.state, State::Retrying { .. }));
    let after_due_time = due.iter().filter_map(|due| {
        let event = after_due_time(&due.progress, due.effect, of_its_agency(scheduler, due), scheduler.clock.now())?;
        Some((due, event))
    });
    let after_deadline =
        overdue.iter().map(|due| (due, Event::DeadlinePassed { fault: deadline_fault(&due.progress, due.effect) }));
    let is_full = due.len().max(overdue.len()) >= BATCH as usize;
    let mut is_any_kept = false;
    unkept.retain(|id| due.iter().chain(&overdue).any(|due| due.id == *id));
    for (due, event) in after_due_time.chain(after_deadline) {
        match record(scheduler, due, event).await {
            Err(error @ (JournalError::Unavailable(_) | JournalError::Held(_))) => return Err(error),
            // One row that cannot be read must not keep all others waiting.
            Err(error) if unkept.insert(due.id) => {
                tracing::error!(submission = %due.id, agency = %due.agency, %error, "its due time cannot be kept");
            }
            Err(_) => {}
            Ok(()) => is_any_kept = true,
        }
    }
    if is_anything_requeued {
        scheduler.outbox_filled.notify_one();
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

/// Whether somebody may have acted on it decides how it is called.
pub fn deadline_fault(progress: &Progress, effect: Effect) -> Fault {
    let last = progress.state.fault().map_or_else(String::new, |fault| format!("; the last fault was {fault}"));
    let is_taken = matches!(progress.state, State::Waiting { .. });
    if is_taken || (progress.in_doubt && effect != Effect::Read) {
        let what = if is_taken {
            "the agency has taken it and not answered"
        } else {
            "an earlier attempt's outcome is unknown"
        };
        let detail = format!("{what}{last}");
        return Fault { verdict: Verdict::Unknown, ..Fault::new(Code::DeadlineInDoubt, Stage::Settle, detail) };
    }
    Fault::new(Code::DeadlinePassed, Stage::Settle, format!("in state {}{last}", progress.state.name()))
}

async fn record(scheduler: &Scheduler, due: &Due, event: Event) -> Result<(), JournalError> {
    let Some(found) = scheduler.journal.find(due.id).await? else { return Ok(()) };
    let point = point_after(&event);
    let entry = Entry::new(event, scheduler.clock.now());
    crash::here(Point::SchedulerDue);
    match scheduler.reply().record(&found.submission, entry).await {
        Ok(progress) => {
            crash::here(point);
            tracing::info!(submission = %due.id, agency = %due.agency, state = %progress.state.name(), "due time passed");
            Ok(())
        }
        // A worker, an operator or another scheduler was faster.
        Err(JournalError::Forbidden(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn point_after(event: &Event) -> Point {
    match event {
        Event::Requeued => Point::SchedulerRequeued,
        Event::DeadlinePassed { .. } => Point::SchedulerExpired,
        _ => Point::SchedulerDecided,
    }
}
