//! The mark keeper: an attempt that is about to leave comes in; the journal's mark and its copy in a folder of this process
//! have moved on before it leaves, once a second at most, so that a backup that was taken before is known to be older.

use crate::{
    domain::{Clock, Effect, Mark, SubmissionId},
    journal::{Found, Journal, JournalError, Kept, MarkFile},
};
use jiff::Timestamp;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

pub struct MarkKeeper {
    journal: Arc<dyn Journal>,
    file: Option<MarkFile>,
    clock: Arc<dyn Clock>,
    /// Until when what leaves is covered by the mark that was set last.
    covered_until: tokio::sync::Mutex<Option<Instant>>,
    /// Something has left since the mark was set last.
    has_sent: AtomicBool,
    under_way: AtomicUsize,
    sent_before_restore: Mutex<Option<Timestamp>>,
    /// Whether anything may leave at all.
    may_send: watch::Sender<bool>,
    newest: watch::Sender<Option<Mark>>,
    /// The folder's copy was written, and has to be there.
    has_written: AtomicBool,
    /// Why the folder's copy could not be written last.
    unwritten: Mutex<Option<String>>,
}

/// An attempt on its way. When it ends, the mark moves on once more.
pub struct SendGuard<'a>(&'a MarkKeeper);

/// What leaves within this time shares a mark.
pub const PERIOD: Duration = Duration::from_secs(1);

impl MarkKeeper {
    pub fn new(journal: Arc<dyn Journal>, file: Option<MarkFile>, clock: Arc<dyn Clock>) -> Self {
        Self {
            journal,
            file,
            clock,
            covered_until: tokio::sync::Mutex::new(None),
            has_sent: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            sent_before_restore: Mutex::default(),
            may_send: watch::Sender::new(false),
            newest: watch::Sender::new(None),
            has_written: AtomicBool::new(false),
            unwritten: Mutex::default(),
        }
    }

    // ── for those who send ───────────────────────────────────────────────────────────────────────────────────────

    /// Before anything leaves. A read changes nothing, and nobody has to know of it.
    pub async fn advance_before_send(&self, effect: Effect) -> Result<Option<SendGuard<'_>>, JournalError> {
        if effect == Effect::Read {
            return Ok(None);
        }
        let mut covered_until = self.covered_until.lock().await;
        if covered_until.is_none_or(|until| Instant::now() >= until) {
            let until = Instant::now() + PERIOD;
            self.advance().await?;
            *covered_until = Some(until);
        }
        drop(covered_until);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Ok(Some(SendGuard(self)))
    }

    pub fn may_send(&self) -> bool {
        *self.may_send.borrow()
    }

    /// Until something may leave.
    pub async fn until_may_send(&self) {
        // An error would say that this is dropped.
        let _ = self.may_send.subscribe().wait_for(|may| *may).await;
    }

    /// Until nothing may leave any more.
    pub async fn until_blocked(&self) {
        let _ = self.may_send.subscribe().wait_for(|may| !*may).await;
    }

    /// What left until then may be missing in the journal, which was confirmed to be an earlier state.
    pub fn sent_before_restore(&self) -> Option<Timestamp> {
        *self.sent_before_restore.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ── for the restore guard ───────────────────────────────────────────────────────────────────────────────────────

    pub fn allow_sending(&self) {
        self.may_send.send_if_modified(|may| !std::mem::replace(may, true));
    }

    pub fn block_sending(&self) {
        self.may_send.send_if_modified(|may| std::mem::replace(may, false));
    }

    /// Once a period: whatever has left since is behind the mark afterwards.
    pub async fn advance_if_needed(&self) -> Result<(), JournalError> {
        let has_sent = self.has_sent.swap(false, Ordering::Relaxed);
        if !has_sent && !self.is_anything_under_way() {
            return self.watch().await;
        }
        let advanced = self.advance().await;
        if advanced.is_err() {
            self.has_sent.store(true, Ordering::Relaxed);
        }
        advanced
    }

    pub fn is_anything_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    /// Keeps this mark as the newest and writes its copy. `found`: what the folder had before.
    pub async fn copy(&self, mark: Mark, found: Found) {
        self.keep_over(mark, Some(found)).await;
    }

    /// What the folder knows.
    pub fn find(&self) -> Found {
        self.file.as_ref().map(MarkFile::find).unwrap_or_default()
    }

    pub fn file(&self) -> Option<&MarkFile> {
        self.file.as_ref()
    }

    pub fn restored_over(&self, sent_until: Option<Timestamp>) {
        let mut known = self.sent_before_restore.lock().unwrap_or_else(PoisonError::into_inner);
        *known = (*known).max(sent_until);
    }

    /// The newest mark that was set here.
    pub fn newest(&self) -> watch::Receiver<Option<Mark>> {
        self.newest.subscribe()
    }

    pub fn unwritten(&self) -> Option<String> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Others may move it on; and should it go back, the database is another one than a moment ago.
    async fn watch(&self) -> Result<(), JournalError> {
        let continuity = self.journal.continuity();
        let found = self.journal.mark().await?;
        if continuity.suspended_because().is_none() {
            continuity.note(&found.mark);
        }
        Ok(())
    }

    async fn advance(&self) -> Result<(), JournalError> {
        let mark = self.journal.advance_mark(self.clock.now()).await?;
        self.keep(mark).await;
        Ok(())
    }

    /// A copy that cannot be written stops no sending; the operator is told.
    async fn keep(&self, mark: Mark) {
        self.keep_over(mark, None).await;
    }

    async fn keep_over(&self, mark: Mark, found: Option<Found>) {
        self.newest.send_if_modified(|newest| note(newest, &mark));
        let Some(file) = self.file.clone() else { return };
        let kept = Kept { mark, sent_before_restore: self.sent_before_restore() };
        let has_written = self.has_written.load(Ordering::Relaxed);
        let written = tokio::task::spawn_blocking(move || {
            if has_written && file.is_gone() {
                let place = file.path().display().to_string();
                tracing::warn!(place, "the copy of the journal's mark was taken away; it is made anew");
            }
            match found {
                Some(found) => file.replace(&found, &kept),
                None => file.write(&kept),
            }
        })
        .await;
        let failure = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the task that wrote it has failed".to_owned()),
        };
        self.has_written.fetch_or(failure.is_none(), Ordering::Relaxed);
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_some() && *unwritten != failure {
            let place = self.file.as_ref().map(|file| file.path().display().to_string()).unwrap_or_default();
            let why = failure.as_deref().unwrap_or_default();
            tracing::error!(
                place,
                why,
                "the copy of the journal's mark cannot be written; a restored journal may not be noticed"
            );
        }
        *unwritten = failure;
    }
}

/// Of two that were set at the same time, the newer may come first.
fn note(newest: &mut Option<Mark>, mark: &Mark) -> bool {
    let is_older = newest.as_ref().is_some_and(|newest| newest.journal == mark.journal && newest.at > mark.at);
    if !is_older {
        *newest = Some(mark.clone());
    }
    !is_older
}

impl SendGuard<'_> {
    /// It was begun, as the journal knows, and leaves now.
    pub fn leaves(&self, submission: SubmissionId, attempt: u32, begun_at: Timestamp) {
        self.0.journal.continuity().leaves(submission, attempt, begun_at);
    }
}

impl Drop for SendGuard<'_> {
    fn drop(&mut self) {
        self.0.has_sent.store(true, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_mark_of_a_journal_never_goes_back() {
        let mark =
            |journal: &str, second| Mark { journal: journal.into(), at: Timestamp::from_second(second).unwrap() };
        let mut newest = None;
        for (next, is_noted) in
            [(mark("a", 5), true), (mark("a", 4), false), (mark("a", 6), true), (mark("b", 1), true)]
        {
            assert_eq!(note(&mut newest, &next), is_noted);
        }
        assert_eq!(newest, Some(mark("b", 1)));
    }
}
