//! Why the journal did not do what it was asked for.

use crate::domain::{Forbidden, SubmissionId};

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store does not answer now: the call may be repeated. Nothing was changed, unless the connection broke while
    /// the change was being committed: then a repetition finds it done.
    #[error("the journal is unavailable: {0}")]
    Unavailable(String),
    /// A stored row cannot be read as what it should be, or a newer program has written the store.
    #[error("the journal holds what this program cannot read: {0}")]
    Corrupt(String),
    /// It answers, and does not take the data of this call: nothing was changed, and a repetition changes nothing either.
    #[error("the journal does not take this: {0}")]
    NotTaken(String),
    /// The file was copied without its log, or is no journal at all.
    #[error("{0}")]
    Incomplete(String),
    /// It is not the journal that this installation has worked with: nothing is done with it until an operator decides.
    #[error("{0}")]
    Suspended(String),
    #[error("the journal knows no submission {0}")]
    NotFound(SubmissionId),
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
}
