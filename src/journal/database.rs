//! One journal over both databases: a method's arguments come in, the operation runs where the database wants it to.

use super::{
    Acceptance, AttachmentBytes, Continuity, Due, Entry, IdempotencyKey, Journal, JournalError, ListFilter, Moved,
    NoRoom, Notice, NoticeOutcome, OutboxItem, Record, Restored, StateCount, Windows,
    operations::{self as op, CHUNK_ROWS, Operation},
};
use crate::domain::{
    AgencyName, AttachmentId, AttachmentRef, Attempt, Change, Event, Fault, IdPart, JournalMark, Mark, OfficeName,
    Submission, SubmissionId,
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

pub trait Database: Send + Sync + 'static {
    fn continuity(&self) -> &Continuity;
    fn perform<O: Operation>(&self, operation: O) -> impl Future<Output = Result<O::Output, JournalError>> + Send;
    /// Sees to it that what was erased before is not left in the database's files, as far as that is in our hands.
    fn leave_no_trace(&self) -> impl Future<Output = Result<(), JournalError>> + Send;
}

#[async_trait]
impl<D: Database> Journal for D {
    async fn accept(
        &self,
        submission: &Submission,
        key: &IdempotencyKey,
        notify: bool,
        claimed_until: Option<Timestamp>,
    ) -> Result<Acceptance, JournalError> {
        self.perform(op::Accept { submission: submission.clone(), key: key.clone(), notify, claimed_until }).await
    }

    async fn find_key(&self, office: &OfficeName, key: &IdempotencyKey) -> Result<Option<Acceptance>, JournalError> {
        self.perform(op::FindKey { office: office.clone(), key: key.clone() }).await
    }

    async fn find(&self, id: SubmissionId) -> Result<Option<Record>, JournalError> {
        self.perform(op::Find(id)).await
    }

    async fn find_named(&self, part: &IdPart, limit: u32) -> Result<Vec<Record>, JournalError> {
        self.perform(op::FindNamed { part: part.clone(), limit }).await
    }

    async fn find_whole(&self, id: SubmissionId) -> Result<Option<(Record, Vec<Change>)>, JournalError> {
        self.perform(op::FindWhole(id)).await
    }

    async fn timeline(&self, id: SubmissionId) -> Result<Vec<Change>, JournalError> {
        self.perform(op::Timeline(id)).await
    }

    async fn list(&self, filter: &ListFilter, limit: u32) -> Result<Vec<Record>, JournalError> {
        self.perform(op::List { filter: filter.clone(), limit }).await
    }

    async fn add_attachment(
        &self,
        office: &OfficeName,
        attachment: &AttachmentRef,
        most: &AttachmentBytes,
        now: Timestamp,
    ) -> Result<Result<(), NoRoom>, JournalError> {
        self.perform(op::AddAttachment { office: office.clone(), attachment: attachment.clone(), most: *most, now })
            .await
    }

    async fn attachment(&self, office: &OfficeName, id: AttachmentId) -> Result<Option<AttachmentRef>, JournalError> {
        self.perform(op::FindAttachment { office: office.clone(), id }).await
    }

    async fn record(&self, id: SubmissionId, entry: Entry) -> Result<Moved, JournalError> {
        self.record_all(id, vec![entry]).await
    }

    async fn record_all(&self, id: SubmissionId, entries: Vec<Entry>) -> Result<Moved, JournalError> {
        Ok(self.perform(op::RecordChanges { id, entries }).await??)
    }

    async fn record_whole(&self, id: SubmissionId, entries: Vec<Entry>) -> Result<(Moved, Vec<Change>), JournalError> {
        Ok(self.perform(op::RecordWhole(op::RecordChanges { id, entries })).await??)
    }

    async fn attempts(&self, id: SubmissionId) -> Result<Vec<Attempt>, JournalError> {
        self.perform(op::Attempts(id)).await
    }

    async fn claim_outbox(
        &self,
        limit: u32,
        now: Timestamp,
        lease_until: Timestamp,
        except: &[AgencyName],
        windows: &Windows,
    ) -> Result<Vec<OutboxItem>, JournalError> {
        let (except, windows) = (except.to_vec(), windows.clone());
        self.perform(op::ClaimOutbox { limit, now, lease_until, except, windows }).await
    }

    async fn published(&self, ids: &[SubmissionId], now: Timestamp) -> Result<Vec<Moved>, JournalError> {
        let mut all = Vec::new();
        for chunk in ids.chunks(CHUNK_ROWS as usize) {
            all.extend(self.perform(op::Published { ids: chunk.to_vec(), now }).await?);
        }
        Ok(all)
    }

    async fn unclaim_outbox(&self, ids: &[SubmissionId]) -> Result<(), JournalError> {
        for chunk in ids.chunks(CHUNK_ROWS as usize) {
            self.perform(op::UnclaimOutbox { ids: chunk.to_vec() }).await?;
        }
        Ok(())
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Due>, JournalError> {
        self.perform(op::DueNow { now, limit }).await
    }

    async fn overdue(&self, now: Timestamp, limit: u32) -> Result<Vec<Due>, JournalError> {
        self.perform(op::Overdue { now, limit }).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, JournalError> {
        self.perform(op::NextDue).await
    }

    async fn queued_since(&self, agency: &AgencyName, before: Timestamp) -> Result<u64, JournalError> {
        self.perform(op::QueuedSince { agency: agency.clone(), before }).await
    }

    async fn requeue(
        &self,
        agency: &AgencyName,
        before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Moved>, JournalError> {
        let (lost, limit) = (op::Lost::Before(before), limit.min(CHUNK_ROWS));
        self.perform(op::Requeue { agency: agency.clone(), lost, now, limit }).await
    }

    async fn requeue_ahead(
        &self,
        agency: &AgencyName,
        after: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Moved>, JournalError> {
        let (lost, limit) = (op::Lost::Ahead(after), CHUNK_ROWS);
        self.perform(op::Requeue { agency: agency.clone(), lost, now, limit }).await
    }

    async fn wake(
        &self,
        agency: &AgencyName,
        before: Timestamp,
        now: Timestamp,
        limit: u32,
        failures: &BTreeMap<OfficeName, usize>,
    ) -> Result<Vec<Moved>, JournalError> {
        let (agency, limit, failures) = (agency.clone(), limit.min(CHUNK_ROWS), failures.clone());
        self.perform(op::Wake { agency, before, now, limit, failures }).await
    }

    async fn keep_waiting(
        &self,
        agency: &AgencyName,
        of: Range<Timestamp>,
        since: Timestamp,
        fault: &Fault,
        now: Timestamp,
    ) -> Result<u64, JournalError> {
        let keep = || op::KeepWaiting {
            agency: agency.clone(),
            of: of.clone(),
            entry: Entry::new(Event::KeptWaiting { since, fault: fault.clone() }, now),
            limit: CHUNK_ROWS,
        };
        in_chunks(self, keep).await
    }

    async fn void_leases(&self, now: Timestamp) -> Result<Vec<Moved>, JournalError> {
        self.perform(op::VoidLeases { now }).await
    }

    async fn counts(&self) -> Result<Vec<StateCount>, JournalError> {
        self.perform(op::Counts).await
    }

    async fn claim_notices(
        &self,
        limit: u32,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Notice>, JournalError> {
        self.perform(op::ClaimNotices { limit, now, lease_until }).await
    }

    async fn settle_notice(&self, id: uuid::Uuid, outcome: NoticeOutcome) -> Result<(), JournalError> {
        self.perform(op::SettleNotice { id, outcome }).await
    }

    async fn erase_wire(&self, ended_before: Timestamp, now: Timestamp) -> Result<u64, JournalError> {
        in_chunks(self, || op::EraseWire { ended_before, now }).await
    }

    async fn erase_wire_of(&self, id: SubmissionId, now: Timestamp) -> Result<u64, JournalError> {
        let erased = self.perform(op::EraseWireOf { id, now }).await?;
        // Though nothing is left to erase: an earlier try may have ended between the two.
        self.leave_no_trace().await?;
        Ok(erased)
    }

    async fn erase_content(&self, ended_before: Timestamp, now: Timestamp) -> Result<u64, JournalError> {
        in_chunks(self, || op::EraseContent { what: op::Erased::Ended, before: ended_before, now }).await
    }

    async fn erase_parked(&self, waiting_since_before: Timestamp, now: Timestamp) -> Result<u64, JournalError> {
        let erase = || op::EraseContent { what: op::Erased::Parked, before: waiting_since_before, now };
        in_chunks(self, erase).await
    }

    async fn forget_keys(&self, used_before: Timestamp) -> Result<u64, JournalError> {
        in_chunks(self, || op::ForgetKeys { used_before }).await
    }

    async fn attachment_bytes(&self, office: &OfficeName) -> Result<AttachmentBytes, JournalError> {
        self.perform(op::SumAttachmentBytes { office: office.clone() }).await
    }

    async fn forget_attachments(&self, before: Timestamp) -> Result<Vec<AttachmentId>, JournalError> {
        in_chunks(self, || op::ForgetAttachments { before }).await?;
        self.perform(op::ForgottenFiles).await
    }

    async fn files_removed(&self, ids: &[AttachmentId]) -> Result<(), JournalError> {
        for chunk in ids.chunks(CHUNK_ROWS as usize) {
            self.perform(op::FilesRemoved { ids: chunk.to_vec() }).await?;
        }
        Ok(())
    }

    async fn known_attachments(&self, ids: &[AttachmentId]) -> Result<BTreeSet<AttachmentId>, JournalError> {
        let mut known = BTreeSet::new();
        for chunk in ids.chunks(CHUNK_ROWS as usize) {
            known.extend(self.perform(op::KnownAttachments { ids: chunk.to_vec() }).await?);
        }
        Ok(known)
    }

    async fn remove_traces(&self) -> Result<(), JournalError> {
        self.leave_no_trace().await
    }

    async fn mark(&self) -> Result<JournalMark, JournalError> {
        let continuity = Database::continuity(self);
        let Some(known) = continuity.known() else { return self.perform(op::ReadMark).await };
        let newest = known.newest.clone();
        let found = match self.perform(op::Recognise(known)).await? {
            (_, Some(done_until)) => self.perform(op::CallEarlier { done_until }).await?,
            (found, None) => found,
        };
        continuity.compare(&newest, &found);
        Ok(found)
    }

    async fn advance_mark(&self, to: Timestamp) -> Result<Mark, JournalError> {
        let continuity = Database::continuity(self);
        let known = continuity.known();
        let newest = known.as_ref().map(|known| known.newest.clone());
        match self.perform(op::AdvanceMark { to, known }).await? {
            Ok(mark) => {
                continuity.note(&mark);
                Ok(mark)
            }
            Err(found) => {
                newest.iter().for_each(|newest| continuity.compare(newest, &found));
                continuity.check()?;
                Ok(found.mark)
            }
        }
    }

    async fn restored(&self, by: &str, now: Timestamp) -> Result<Restored, JournalError> {
        let (mut all, mut after) = (Restored::default(), None);
        loop {
            let (restored, last) = self.perform(op::RestoreNext { after, by: by.to_owned(), now }).await?;
            (all, after) = (all.with(restored), last);
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    async fn confirm_mark(&self, to: Timestamp) -> Result<Mark, JournalError> {
        self.perform(op::ConfirmMark { to }).await
    }

    fn continuity(&self) -> &Continuity {
        Database::continuity(self)
    }

    async fn identity(&self) -> Result<String, JournalError> {
        self.perform(op::Identity).await
    }

    async fn oldest_queued(&self, agency: &AgencyName) -> Result<Option<Timestamp>, JournalError> {
        self.perform(op::OldestQueued(agency.clone())).await
    }

    async fn ping(&self) -> Result<(), JournalError> {
        self.perform(op::WriteProbe { now: Timestamp::now() }).await
    }
}

/// Repeats an operation that changes at most [`CHUNK_ROWS`] until nothing is left, so that others get their turn.
async fn in_chunks<D: Database, O: Operation<Output = u64>>(
    database: &D,
    operation: impl Fn() -> O + Send,
) -> Result<u64, JournalError> {
    let mut total = 0;
    loop {
        let count = database.perform(operation()).await?;
        total += count;
        if count < u64::from(CHUNK_ROWS) {
            return Ok(total);
        }
    }
}
