//! Retention: how long things are kept comes in, what is older is erased.

use super::Scheduler;
use crate::{
    crash::{self, Point},
    journal::JournalError,
};
use jiff::{SignedDuration, Timestamp};

/// Attachments that nobody has used are kept this long.
const UNUSED_ATTACHMENTS: SignedDuration = SignedDuration::from_hours(24);

pub(super) async fn tidy(scheduler: &Scheduler) -> Result<(), JournalError> {
    let now = scheduler.clock.now();
    let before = |age: SignedDuration| now.saturating_sub(age).unwrap_or(Timestamp::MIN);
    let journal = &scheduler.journal;
    let wires = journal.erase_wire(before(scheduler.retention.wire), now).await?;
    let contents = journal.erase_content(before(scheduler.retention.content), now).await?;
    let parked = journal.erase_parked(before(scheduler.retention.parked), now).await?;
    let keys = journal.forget_keys(before(scheduler.retention.keys)).await?;
    let files = journal.forget_attachments(before(UNUSED_ATTACHMENTS)).await?;
    crash::here(Point::SchedulerTidied);
    let mut removed = Vec::new();
    for id in &files {
        match scheduler.attachments.remove(*id).await {
            Ok(()) => removed.push(*id),
            Err(error) => tracing::warn!(attachment = %id, %error, "an attachment's file could not be removed"),
        }
    }
    if !removed.is_empty() {
        journal.files_removed(&removed).await?;
    }
    if parked > 0 {
        tracing::warn!(
            parked,
            "erased the content of what has waited too long for an operator; it can only be discarded"
        );
    }
    if wires + contents + keys > 0 || !files.is_empty() {
        tracing::info!(wires, contents, keys, attachments = files.len(), "erased what has been kept long enough");
    }
    Ok(())
}
