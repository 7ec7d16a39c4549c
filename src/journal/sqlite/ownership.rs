//! Who may believe to be the only worker on a file: its path comes in, a guard goes out, or the news that another has it.

use super::{beside::beside, connection::create_private};
use crate::journal::JournalError;
use std::{
    fs::{File, TryLockError},
    path::Path,
};

/// The end of the lock's name.
pub const LOCK: &str = ".lock";

/// Holds `<path>.lock` until it is dropped or its process ends, however it ends.
#[derive(Debug)]
pub struct Ownership {
    _lock: File,
}

/// `None`: another process has it.
pub fn try_own(path: &Path) -> Result<Option<Ownership>, JournalError> {
    let path = beside(path, LOCK);
    let failed = |error| JournalError::Unavailable(format!("cannot lock {}: {error}", path.display()));
    create_private(&path)?;
    let lock = File::options().append(true).open(&path).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(Ownership { _lock: lock })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
