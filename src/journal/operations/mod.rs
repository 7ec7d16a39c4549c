//! The journal's methods as plain values: an operation and an open connection come in, its answer goes out. Each is
//! written once and runs on both databases.

mod accept;
mod attachments;
mod change;
mod change_rows;
mod claim;
mod mark;
mod notices;
mod outbox;
mod probe;
mod reading;
mod retention;
mod schedule;
mod standing;
mod wait;
mod wake;

pub use accept::{Accept, FindKey};
pub use attachments::{
    AddAttachment, FilesRemoved, FindAttachment, ForgetAttachments, ForgottenFiles, KnownAttachments,
    SumAttachmentBytes,
};
pub use change::{RecordChanges, RecordWhole};
pub use claim::ClaimOutbox;
pub use mark::{AdvanceMark, CallEarlier, ConfirmMark, ReadMark, Recognise, RestoreNext};
pub use notices::{ClaimNotices, SettleNotice};
pub use outbox::{Published, UnclaimOutbox};
pub use probe::WriteProbe;
pub use reading::{Attempts, Counts, Find, FindNamed, FindWhole, Identity, List, Timeline};
pub use retention::{EraseContent, EraseWire, EraseWireOf, Erased, ForgetKeys};
pub use schedule::{DueNow, Lost, NextDue, OldestQueued, Overdue, QueuedSince, Requeue, VoidLeases};
pub use wait::KeepWaiting;
pub use wake::Wake;

use super::{JournalError, store::Store};
use crate::domain::SubmissionId;

/// How many rows one transaction changes at most, so that no other waits long for it.
pub const CHUNK_ROWS: u32 = 256;

/// What brings more than this is done alone, so that a batch takes some tens of megabytes at most.
const GATHERED_BYTES: usize = 128 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// SELECTs, on any connection.
    Read,
    /// In a transaction: what `Ok` comes with is committed, what `Err` comes with is rolled back.
    Write,
    /// As a write. That it was done shows that the journal can be written, but not that it has room for more.
    Probe,
}

/// Whether an operation may share a transaction with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    Never,
    /// With operations on others than this submission, the only one that it changes.
    With(SubmissionId),
    /// It would, but it brings too much.
    TooLarge,
}

impl Sharing {
    fn of(submission: SubmissionId, is_small: bool) -> Self {
        if is_small { Self::With(submission) } else { Self::TooLarge }
    }
}

pub trait Operation: Send + Sync + 'static {
    type Output: Send + 'static;
    const ACCESS: Access;
    /// Whether it may be done on a journal that is not the one that this installation has worked with.
    const EVEN_WHEN_SUSPENDED: bool = false;
    fn sharing(&self) -> Sharing {
        Sharing::Never
    }
    fn run<S: Store>(&self, store: &mut S) -> impl Future<Output = Result<Self::Output, JournalError>> + Send;
}
