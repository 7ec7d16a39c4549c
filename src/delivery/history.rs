//! What the journal, its marks and the clock say of the attempts that a submission has behind it.

use super::{ClockJumpDetector, EarlierReplies, MarkKeeper, Recorder, lookup::settled_at};
use crate::{
    domain::{Effect, later},
    journal::{JournalError, Record},
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

pub(super) struct History<'a> {
    pub recorder: &'a Recorder,
    pub mark_keeper: &'a MarkKeeper,
    pub clock_jumps: &'a ClockJumpDetector,
}

impl History<'_> {
    /// What may have been said of its reference so far.
    pub async fn earlier(
        &self,
        record: &Record,
        effect: Effect,
        timeout: Duration,
    ) -> Result<EarlierReplies, JournalError> {
        let progress = &record.progress;
        // Nobody asks, or there is nothing to ask about.
        if effect == Effect::Read || (progress.attempts == 0 && !progress.in_doubt) {
            return Ok(EarlierReplies::Nothing);
        }
        let attempts = self.recorder.with_retry(|| self.recorder.submissions.attempts(record.submission.id)).await?;
        let earlier = EarlierReplies::of(progress, &attempts, timeout, self.mark_keeper.sent_before_restore());
        Ok(match earlier {
            EarlierReplies::Until(end) => self.by_any_clock(end),
            other => other,
        })
    }

    /// An end that was noted before the clock was set forward was a later moment than it says.
    fn by_any_clock(&self, end: Timestamp) -> EarlierReplies {
        let now = self.recorder.clock.now();
        let since = Duration::try_from(now.duration_since(end)).unwrap_or_default();
        if self.clock_jumps.was_set_forward_within(since, now) {
            EarlierReplies::Unknown
        } else {
            EarlierReplies::Until(end)
        }
    }

    /// When the agency is through with all that was sent before it was asked. After the question we wait at most one more
    /// exchange's time. If the clock was set forward lately, we wait that long in full, because recorded times then prove
    /// nothing.
    pub async fn settled_by_any_clock(
        &self,
        record: &Record,
        timeout: Duration,
        asked_at: Timestamp,
    ) -> Result<Timestamp, JournalError> {
        let latest = later(asked_at, SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX));
        let is_jump_recent = self.clock_jumps.was_set_forward_within(timeout, self.recorder.clock.now());
        Ok(if is_jump_recent { latest } else { self.settled_at(record, timeout).await?.min(latest) })
    }

    /// When the agency is through with all that was sent before: it gets as long again as an exchange may take. That our
    /// side has ended, be it by a timeout, a reset or a crash, ends nothing on its side.
    async fn settled_at(&self, record: &Record, timeout: Duration) -> Result<Timestamp, JournalError> {
        let before = self.recorder.with_retry(|| self.recorder.submissions.attempts(record.submission.id)).await?;
        let longest = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
        // What a restored journal knows nothing of may have left as late as then.
        let unknown = self.mark_keeper.sent_before_restore().map_or(Timestamp::MIN, |at| later(at, longest));
        Ok(settled_at(&before, timeout).max(unknown))
    }
}
