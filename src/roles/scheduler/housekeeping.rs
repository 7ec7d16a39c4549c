//! Retention: how long things are kept comes in, what is older is erased.

use super::Scheduler;
use crate::{
    failpoints::{self, Failpoint},
    journal::JournalError,
};
use jiff::{SignedDuration, Timestamp};
use std::{io, time::Duration};

/// Attachments that nobody has used are kept this long.
const UNUSED_ATTACHMENTS: SignedDuration = SignedDuration::from_hours(24);
/// A file is written before its row, which has certainly come or failed after this time.
const FILE_WITHOUT_ROW: Duration = Duration::from_secs(3600);

/// What one step could not do. The others do their work all the same.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the folder of attachments cannot be read: {0}")]
    Folder(#[from] io::Error),
}

/// Erases what has been kept long enough. `owes_traces`: something was erased whose traces are still to be removed.
pub(super) async fn tidy(scheduler: &Scheduler, owes_traces: &mut bool) {
    let now = scheduler.clock.now();
    let before = |age: SignedDuration| now.saturating_sub(age).unwrap_or(Timestamp::MIN);
    let (journal, submissions, retention) = (&scheduler.journal, &scheduler.submissions, scheduler.retention);
    let wires = done("wire bytes", submissions.erase_wire(before(retention.wire)).await);
    let contents = done("contents", submissions.erase_content(before(retention.content)).await);
    let parked = done("contents that wait for an operator", submissions.erase_parked(before(retention.parked)).await);
    let keys = done("idempotency keys", submissions.forget_keys(before(retention.keys)).await);
    let attachments = done("attachments", forget_attachments(scheduler, before(UNUSED_ATTACHMENTS)).await);
    let nobodys = done("files without a record", remove_nobodys_files(scheduler).await);
    *owes_traces |= wires + contents + parked + keys + attachments > 0;
    if *owes_traces {
        *owes_traces = journal.remove_traces().await.map_err(|error| log_failure("traces", &error.into())).is_err();
    }
    if parked > 0 {
        tracing::warn!(
            parked,
            "erased the content of what has waited too long for an operator; it can only be discarded"
        );
    }
    if nobodys > 0 {
        tracing::warn!(files = nobodys, "removed files of attachments that the journal does not have");
    }
    if wires + contents + keys + attachments > 0 {
        tracing::info!(wires, contents, keys, attachments, "erased what has been kept long enough");
    }
}

/// How much a step has erased.
fn done(what: &str, outcome: Result<u64, impl Into<Undone>>) -> u64 {
    outcome.map_err(|error| log_failure(what, &error.into())).unwrap_or_default()
}

fn log_failure(what: &str, error: &Undone) {
    match error {
        // The restore guard logs why the journal is suspended.
        Undone::Journal(JournalError::Suspended(_)) => tracing::debug!(what, %error, "nothing is erased now"),
        _ => {
            tracing::warn!(what, %error, "what has been kept long enough could not all be erased; the next try is in an hour")
        }
    }
}

async fn forget_attachments(scheduler: &Scheduler, before: Timestamp) -> Result<u64, Undone> {
    let forgotten = scheduler.journal.forget_attachments(before).await?;
    failpoints::hit(Failpoint::SchedulerTidied);
    let mut removed = Vec::new();
    for id in &forgotten {
        match scheduler.attachments.remove(*id).await {
            Ok(()) => removed.push(*id),
            Err(error) => tracing::warn!(attachment = %id, %error, "an attachment's file could not be removed"),
        }
    }
    if !removed.is_empty() {
        scheduler.journal.files_removed(&removed).await?;
    }
    Ok(forgotten.len() as u64)
}

/// A process may have died after it had written a file and before the journal had its row.
async fn remove_nobodys_files(scheduler: &Scheduler) -> Result<u64, Undone> {
    let files = scheduler.attachments.clone();
    let looking = tokio::task::spawn_blocking(move || {
        files.remove_half_done()?;
        files.older_than(FILE_WITHOUT_ROW)
    });
    let old = looking.await.map_err(io::Error::other)??;
    let known = scheduler.journal.known_attachments(&old).await?;
    let mut removed = 0;
    for id in old.into_iter().filter(|id| !known.contains(id)) {
        scheduler.attachments.remove(id).await?;
        removed += 1;
    }
    Ok(removed)
}
