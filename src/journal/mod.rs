//! The durable record and the truth: submissions and what happened to them come in, the same come out after any crash.
//!
//! Two implementations behind [`Journal`], proved by one test-suite: SQLite for one process, PostgreSQL for many. What a
//! method does is written once, as a value in `operations/`, on what both databases can do (`store.rs`).
//!
//! Rules that both obey, so that no caller has to remember them:
//! - what a method has returned `Ok` for is on disk (fsynced, or committed with `synchronous_commit = on`);
//! - times are kept to the microsecond;
//! - a state changes only through [`crate::domain::apply`], inside the transaction that has read it, or that finds that it has
//!   not changed since it was read; erasing takes the answer or the refusal's text out of one, and leaves it the state that it was;
//! - entering `accepted` adds a row to the outbox and leaving it removes that row ([`SideRows`]);
//! - what waits for an agency that is away has a row among those that may be woken, as long as it does;
//! - entering a settled state adds a webhook notice if the submission asked for one;
//! - what was erased can no longer be read in any file that SQLite keeps of the journal, once its traces are removed.

mod bulk;
mod error;
mod continuity;
mod database;
mod mark_file;
mod migrations;
mod operations;
pub mod postgres;
mod rows;
mod side_rows;
pub mod sqlite;
mod standing;
mod store;
mod value;

use continuity::Continuity;
pub use continuity::{Known, Left};
pub use error::JournalError;
pub use mark_file::{Found, Kept, MarkFile, Unreadable};
pub use side_rows::SideRows;
use standing::{LastKnown, Standing};

use crate::domain::{
    AgencyName, AttachmentId, AttachmentRef, Attempt, Change, Effect, Event, Fault, IdPart, JournalMark, Mark,
    OfficeName, Priority, Progress, ServiceName, StateName, Submission, SubmissionId, TraceParent, WireRecord,
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// The office's key for a request and the digest of what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub key: String,
    pub body_sha256: [u8; 32],
}

/// How many bytes files take on the disk, each of them whole blocks, or how many they may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachmentBytes {
    /// One office's that no submission names.
    pub unused: u64,
    /// All of that office's.
    pub office: u64,
    /// All offices'.
    pub all: u64,
}

/// Whose share of the room a file would overstep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    Office,
    All,
}

impl AttachmentBytes {
    pub const ENDLESS: Self = Self { unused: u64::MAX, office: u64::MAX, all: u64::MAX };

    /// Whether `most` has room for what comes to this: so much of the office, which no submission names yet, and so much of all.
    pub fn check(&self, office: u64, all: u64, most: &Self) -> Result<(), NoRoom> {
        let is_over = |lies: u64, comes: u64, limit: u64| lies.saturating_add(comes) > limit;
        if is_over(self.unused, office, most.unused) || is_over(self.office, office, most.office) {
            return Err(NoRoom::Office);
        }
        if is_over(self.all, all, most.all) { Err(NoRoom::All) } else { Ok(()) }
    }
}

/// Of file systems, as most have them: no file takes less.
pub const BLOCK_BYTES: u64 = 4096;

/// What became of an [`Journal::accept`].
#[derive(Debug, Clone, PartialEq)]
pub enum Acceptance {
    New,
    /// The same key and body came before: this is that submission.
    Repeated(SubmissionId),
    /// This submission came with the same key and another body.
    KeyReused(SubmissionId),
}

/// A submission and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub submission: Submission,
    pub progress: Progress,
    pub changed_at: Timestamp,
    /// When its personal content was erased.
    pub erased_at: Option<Timestamp>,
}

impl Record {
    /// As it is when it is new.
    pub fn accepted(submission: Submission) -> Self {
        let changed_at = submission.accepted_at;
        Self { submission, progress: Progress::accepted(), changed_at, erased_at: None }
    }
}

/// One change to record, with what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub event: Event,
    pub at: Timestamp,
    /// The bytes of the attempt that this event ends.
    pub wire: Option<WireRecord>,
    /// For events that enter `accepted`: publish not before this time.
    pub not_before: Option<Timestamp>,
}

impl Entry {
    pub fn new(event: Event, at: Timestamp) -> Self {
        Self { event, at, wire: None, not_before: None }
    }
}

/// What a change has made of a submission, and what whoever is told of it has to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    pub submission: SubmissionId,
    pub office: OfficeName,
    pub agency: AgencyName,
    pub service: ServiceName,
    pub trace: TraceParent,
    /// As it is now.
    pub progress: Progress,
    /// The states that it has entered, one after the other.
    pub entered: Vec<StateName>,
}

/// What the broker has to carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxItem {
    pub submission: SubmissionId,
    pub agency: AgencyName,
    /// `None`: a program that did not write it down has added it.
    pub office: Option<OfficeName>,
    pub priority: Priority,
    pub trace: TraceParent,
}

/// How many submissions of an agency may be with the broker and in workers' hands at the same time; agencies that are not
/// named have no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Windows(BTreeMap<AgencyName, u32>);

impl FromIterator<(AgencyName, u32)> for Windows {
    fn from_iter<I: IntoIterator<Item = (AgencyName, u32)>>(windows: I) -> Self {
        Self(windows.into_iter().collect())
    }
}

impl Windows {
    /// What one office has of it, when that many want something. `None`: there is no limit.
    pub fn share(&self, agency: &AgencyName, offices: usize) -> Option<u32> {
        let offices = u32::try_from(offices.max(1)).unwrap_or(u32::MAX);
        self.0.get(agency).map(|window| (window / offices).max(1))
    }
}

/// A submission that the scheduler has to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    pub id: SubmissionId,
    pub agency: AgencyName,
    pub service: ServiceName,
    pub effect: Effect,
    pub progress: Progress,
}

/// Which submissions to list, newest first. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    pub office: Option<OfficeName>,
    pub agency: Option<AgencyName>,
    pub service: Option<ServiceName>,
    pub state: Option<StateName>,
    /// Accepted at or after.
    pub since: Option<Timestamp>,
    /// Older than this one: the last of the page before.
    pub before: Option<SubmissionId>,
}

/// A webhook delivery that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Stable over retries: the receiver knows repeats by it.
    pub id: uuid::Uuid,
    pub office: OfficeName,
    pub submission: SubmissionId,
    /// The state that the office is told of.
    pub state: StateName,
    pub happened_at: Timestamp,
    /// Failed tries so far.
    pub tries: u32,
}

/// What became of a try to deliver a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeOutcome {
    Delivered,
    RetryAt(Timestamp),
    GivenUp,
}

/// What became of what was open in an earlier state of the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Never sent again by machine.
    pub uncertain: u64,
    /// Their agencies are asked before anything is sent.
    pub asked_first: u64,
    /// They wait for an operator as before, in doubt.
    pub parked: u64,
    /// They go on.
    pub as_before: u64,
}

/// How many submissions of an agency are in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateCount {
    pub agency: AgencyName,
    pub state: StateName,
    pub count: u64,
}

#[async_trait]
pub trait Journal: Send + Sync + 'static {
    // ── the gateway ──────────────────────────────────────────────────────────────────────────────────────────────
    /// Records a new submission in state `accepted`, its key, and its outbox row, in one transaction. `notify`: the
    /// office wants webhook notices. `claimed_until`: the caller publishes it itself, so the relay leaves the row alone
    /// until then. Of many calls with one key exactly one is `New`.
    async fn accept(
        &self,
        submission: &Submission,
        key: &IdempotencyKey,
        notify: bool,
        claimed_until: Option<Timestamp>,
    ) -> Result<Acceptance, JournalError>;
    /// What [`Journal::accept`] would say of a key that came before; `None` if it did not.
    async fn find_key(&self, office: &OfficeName, key: &IdempotencyKey) -> Result<Option<Acceptance>, JournalError>;
    async fn find(&self, id: SubmissionId) -> Result<Option<Record>, JournalError>;
    /// Whose id begins or ends like this, newest first, at most `limit`; as in a list, without what may be large.
    async fn find_named(&self, part: &IdPart, limit: u32) -> Result<Vec<Record>, JournalError>;
    /// With its timeline.
    async fn find_whole(&self, id: SubmissionId) -> Result<Option<(Record, Vec<Change>)>, JournalError>;
    /// Changes in the order in which they happened.
    async fn timeline(&self, id: SubmissionId) -> Result<Vec<Change>, JournalError>;
    /// Newest first, at most `limit`.
    async fn list(&self, filter: &ListFilter, limit: u32) -> Result<Vec<Record>, JournalError>;
    /// Counts what lies there and adds the file at one moment, so that however many do it at once never overstep `most`.
    async fn add_attachment(
        &self,
        office: &OfficeName,
        attachment: &AttachmentRef,
        most: &AttachmentBytes,
        now: Timestamp,
    ) -> Result<Result<(), NoRoom>, JournalError>;
    async fn attachment(&self, office: &OfficeName, id: AttachmentId) -> Result<Option<AttachmentRef>, JournalError>;
    /// Sums of what attachments take on the disk: this office's unused ones, all of this office's, everybody's.
    async fn attachment_bytes(&self, office: &OfficeName) -> Result<AttachmentBytes, JournalError>;

    // ── every change of state ────────────────────────────────────────────────────────────────────────────────────
    /// Applies the event to the submission as it is now, and records the change, the attempt and the side rows. A
    /// forbidden event changes nothing, but the bytes of an attempt that has none yet are kept: they are the only proof.
    async fn record(&self, id: SubmissionId, entry: Entry) -> Result<Moved, JournalError>;
    /// The same for several, one after the other, in one transaction: all of them, or none.
    async fn record_all(&self, id: SubmissionId, entries: Vec<Entry>) -> Result<Moved, JournalError>;
    /// The same; with the timeline.
    async fn record_whole(&self, id: SubmissionId, entries: Vec<Entry>) -> Result<(Moved, Vec<Change>), JournalError>;
    async fn attempts(&self, id: SubmissionId) -> Result<Vec<Attempt>, JournalError>;

    // ── the outbox ───────────────────────────────────────────────────────────────────────────────────────────────
    /// Outbox rows that are due and nobody's. They are the caller's until `lease_until`. None of the agencies in `except`:
    /// what their queues do not take must not keep others' waiting. Of an agency with a window each office that has something
    /// waiting has the same share of it, be there ever so much of another's; of each its urgent ones first, then its oldest.
    async fn claim_outbox(
        &self,
        limit: u32,
        now: Timestamp,
        lease_until: Timestamp,
        except: &[AgencyName],
        windows: &Windows,
    ) -> Result<Vec<OutboxItem>, JournalError>;
    /// The broker has confirmed these, which were claimed before: `accepted` becomes `queued`. Those that have moved on
    /// already stay as they are, also if a worker has put them back into a new outbox row meanwhile.
    async fn published(&self, ids: &[SubmissionId], now: Timestamp) -> Result<Vec<Moved>, JournalError>;
    /// The broker has not taken these: they are nobody's again at once.
    async fn unclaim_outbox(&self, ids: &[SubmissionId]) -> Result<(), JournalError>;

    // ── the scheduler ────────────────────────────────────────────────────────────────────────────────────────────
    /// `retrying` whose time has come and `sending` whose lease has run out, soonest first. What cannot be read is told
    /// in the log and left out.
    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Due>, JournalError>;
    /// Submissions past their deadline that no worker has: `accepted`, `queued`, `retrying`, `waiting`.
    async fn overdue(&self, now: Timestamp, limit: u32) -> Result<Vec<Due>, JournalError>;
    /// The soonest time at which `due`, `overdue` or `claim_outbox` will have something.
    async fn next_due(&self) -> Result<Option<Timestamp>, JournalError>;
    /// How many of an agency's submissions have been `queued` since before a time.
    async fn queued_since(&self, agency: &AgencyName, before: Timestamp) -> Result<u64, JournalError>;
    /// The broker has lost them: `queued` since before a time becomes `accepted` again, oldest first; at most `limit`, and no
    /// more than one transaction takes, so that others get their turn.
    async fn requeue(
        &self,
        agency: &AgencyName,
        before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Moved>, JournalError>;
    /// The clock has been set back: what is `queued` or `retrying` since a time that has not come waits no longer for times
    /// that mean nothing. No more than one transaction takes.
    async fn requeue_ahead(
        &self,
        agency: &AgencyName,
        after: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Moved>, JournalError>;
    /// An agency that was away is there again: what waits for it since before a time need not wait until its own time comes.
    /// Of each office one before any second one, those that have failed least first, and nothing that the agency itself has
    /// asked to wait.
    async fn wake(
        &self,
        agency: &AgencyName,
        before: Timestamp,
        now: Timestamp,
        limit: u32,
        failures: &BTreeMap<OfficeName, usize>,
    ) -> Result<Vec<Moved>, JournalError>;
    /// Nothing is sent to an agency for now: what has been `queued` since a time in `of` and is not known to wait for it waits
    /// since `since`. How many there were.
    async fn keep_waiting(
        &self,
        agency: &AgencyName,
        of: Range<Timestamp>,
        since: Timestamp,
        fault: &Fault,
        now: Timestamp,
    ) -> Result<u64, JournalError>;
    /// No other worker lives: every lease runs out now, also those of the outbox and of notices. What was being
    /// sent.
    async fn void_leases(&self, now: Timestamp) -> Result<Vec<Moved>, JournalError>;
    /// By agency and state, of what is not over.
    async fn counts(&self) -> Result<Vec<StateCount>, JournalError>;

    // ── webhooks ─────────────────────────────────────────────────────────────────────────────────────────────────
    async fn claim_notices(
        &self,
        limit: u32,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Notice>, JournalError>;
    async fn settle_notice(&self, id: uuid::Uuid, outcome: NoticeOutcome) -> Result<(), JournalError>;

    // ── retention ────────────────────────────────────────────────────────────────────────────────────────────────
    // After all that is erased at one time, `remove_traces` is called once.
    /// Erases the wire bytes of attempts that ended before a time. How many attempts lost theirs.
    async fn erase_wire(&self, ended_before: Timestamp, now: Timestamp) -> Result<u64, JournalError>;
    /// Erases the wire bytes of one submission's attempts, and their traces.
    async fn erase_wire_of(&self, id: SubmissionId, now: Timestamp) -> Result<u64, JournalError>;
    /// Erases call context, subject, data and answer of submissions that ended before a time; the timeline stays.
    async fn erase_content(&self, ended_before: Timestamp, now: Timestamp) -> Result<u64, JournalError>;
    /// The same of what has waited for an operator since before a time. It still does, but cannot be replayed any more.
    async fn erase_parked(&self, waiting_since_before: Timestamp, now: Timestamp) -> Result<u64, JournalError>;
    /// Forgets idempotency keys first used before a time.
    async fn forget_keys(&self, used_before: Timestamp) -> Result<u64, JournalError>;
    /// Attachments that no submission uses, or whose submission was erased, uploaded before a time: they are forgotten
    /// here, and the caller removes their files. All whose files were not reported to be removed, also those of before.
    async fn forget_attachments(&self, before: Timestamp) -> Result<Vec<AttachmentId>, JournalError>;
    async fn files_removed(&self, ids: &[AttachmentId]) -> Result<(), JournalError>;
    /// Which of these attachments there are: the file of any other is nobody's.
    async fn known_attachments(&self, ids: &[AttachmentId]) -> Result<BTreeSet<AttachmentId>, JournalError>;
    /// Sees to it that nothing that was erased or forgotten can be read in any file of the journal.
    async fn remove_traces(&self) -> Result<(), JournalError>;

    // ── the mark ─────────────────────────────────────────────────────────────────────────────────────────────────
    /// A journal that lacks what this process knows of is suspended, and says so from then on to all processes, also to those
    /// that know less.
    async fn mark(&self) -> Result<JournalMark, JournalError>;
    /// Moves the mark on, at least to this time.
    async fn advance_mark(&self, to: Timestamp) -> Result<Mark, JournalError>;
    /// The journal is an earlier state, and goes on from there: whatever was open may have been sent since.
    async fn restored(&self, by: &str, now: Timestamp) -> Result<Restored, JournalError>;
    /// Moves the mark on over everything that is known outside, after [`Journal::restored`].
    async fn confirm_mark(&self, to: Timestamp) -> Result<Mark, JournalError>;
    fn continuity(&self) -> &Continuity;

    /// Which journal it is: the same for all processes of one installation, and for a copy of it.
    async fn identity(&self) -> Result<String, JournalError>;
    /// Since when the oldest of an agency's submissions has been `queued`.
    async fn oldest_queued(&self, agency: &AgencyName) -> Result<Option<Timestamp>, JournalError>;
    /// Whether the store takes writes: something of some size is written, and is on disk.
    async fn ping(&self) -> Result<(), JournalError>;
}
