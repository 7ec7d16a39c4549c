//! The names of the files that lie beside a journal's own.

use std::path::{Path, PathBuf};

/// Named as the journal is, and this at the end.
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Changes that are not in the file yet.
pub fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// What undoes a change that was cut off, before the file has its first log.
pub fn rollback_of(path: &Path) -> PathBuf {
    beside(path, "-journal")
}
