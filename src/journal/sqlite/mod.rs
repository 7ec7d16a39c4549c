//! The journal in one SQLite file: operations come in, writes go to the one writer thread and reads to a few readers.
//!
//! WAL with `synchronous = FULL`: a commit is on disk when it returns. Other processes may open the same file.

mod checkpointer;
mod connection;
mod ownership;
mod reader;
mod writer;

pub use ownership::{Ownership, try_own};

use super::{
    JournalError,
    database::Database,
    migrations::migrate,
    operations::{Access, Operation},
    store::Store,
};
use checkpointer::Checkpointer;
use futures_util::FutureExt;
use reader::Readers;
use std::path::Path;
use writer::Writer;

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_quick_partial_indexes.sql"),
    include_str!("migrations/0003_write_probes.sql"),
];

pub struct SqliteJournal {
    writer: Writer,
    /// Ends after the writer.
    _checkpointer: Checkpointer,
    readers: Readers,
}

/// How much the writer has done, for tests and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterCounts {
    pub commands: u64,
    pub commits: u64,
}

impl SqliteJournal {
    /// Opens or creates the file, and its folder, for this user alone, and brings it to the newest schema.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        connection::create_private(path)?;
        let mut connection = connection::open(path)?;
        connection::in_transaction(&mut connection, |store| at_once(migrate(store, MIGRATIONS)))?;
        let checkpointer = Checkpointer::start(path, &mut connection)?;
        Ok(Self { writer: Writer::start(connection)?, _checkpointer: checkpointer, readers: Readers::new(path) })
    }

    pub fn writer_counts(&self) -> WriterCounts {
        self.writer.counts()
    }

    /// Waits until what was handed in is done and the file is closed. Dropping does the same, but blocks its thread.
    pub async fn close(self) {
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Database for SqliteJournal {
    async fn perform<O: Operation>(&self, operation: O) -> Result<O::Output, JournalError> {
        match O::ACCESS {
            Access::Read => self.readers.read(operation).await,
            Access::Write | Access::Probe => self.writer.write(operation).await,
        }
    }
}

/// Runs an operation to its end. On SQLite nothing in it ever waits, so that its future is ready when first asked.
fn at_once<T>(future: impl Future<Output = Result<T, JournalError>>) -> Result<T, JournalError> {
    let waited = || Err(JournalError::Unavailable("an operation waited where it must not".into()));
    future.now_or_never().unwrap_or_else(waited)
}

fn run<O: Operation, S: Store>(operation: &O, store: &mut S) -> Result<O::Output, JournalError> {
    at_once(operation.run(store))
}
