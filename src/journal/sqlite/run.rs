//! An operation and a connection come in; the operation is done at once.

use crate::journal::{JournalError, operations::Operation, store::Store};
use futures_util::FutureExt;

/// Runs an operation to its end. On SQLite nothing in it ever waits, so that its future is ready when first asked.
pub fn at_once<T>(future: impl Future<Output = Result<T, JournalError>>) -> Result<T, JournalError> {
    let waited = || Err(JournalError::Unavailable("an operation waited where it must not".into()));
    future.now_or_never().unwrap_or_else(waited)
}

pub fn run<O: Operation, S: Store>(operation: &O, store: &mut S) -> Result<O::Output, JournalError> {
    at_once(operation.run(store))
}
