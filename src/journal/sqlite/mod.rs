//! The journal in one SQLite file: operations come in, writes go to the one writer thread and reads to a few readers.
//!
//! WAL with `synchronous = FULL`: a commit is on disk when it returns. Other processes may open the same file.

mod backup;
mod beside;
mod checkpointer;
mod connection;
mod kind;
mod log_id;
mod ownership;
mod place;
mod reader;
mod run;
mod traces;
mod wholeness;
mod writer;

pub use backup::{back_up, put_in_place};
pub use ownership::{Ownership, try_own};
use writer::WriterCounts;

use super::{
    Continuity, JournalError,
    database::Database,
    migrations::{applied, migrate},
    operations::{Access, Operation},
};
use checkpointer::Checkpointer;
use place::Place;
use reader::Readers;
use run::at_once;
use rusqlite::Connection;
use std::path::Path;
use writer::Writer;

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_quick_partial_indexes.sql"),
    include_str!("migrations/0003_write_probes.sql"),
    include_str!("migrations/0004_mark.sql"),
    include_str!("migrations/0005_forgotten_files.sql"),
    include_str!("migrations/0006_waiting_for_agencies.sql"),
    include_str!("migrations/0007_outbox_by_office.sql"),
    include_str!("migrations/0008_log_id.sql"),
    include_str!("migrations/0009_waking.sql"),
    include_str!("migrations/0010_attachment_sums.sql"),
    include_str!("migrations/0011_actors.sql"),
];

/// One to each process or command that works with the file. Its fields end in the order in which they stand here.
pub struct SqliteJournal {
    /// Whether the file is the journal that the installation has worked with.
    continuity: Continuity,
    /// The one thread that changes the file, and its connection. It ends when what was handed in is done.
    writer: Writer,
    /// The thread that brings the log's pages into the database. It ends after the writer.
    _checkpointer: Checkpointer,
    /// Connections that only read, opened when they are first needed and kept from then on.
    readers: Readers,
    /// Ends last, when no other connection of ours is open any more.
    end: EndOfUse,
}

/// What is to be done with the file when nobody here uses it any more.
struct EndOfUse {
    /// Where the file lay when it was opened.
    place: Place,
    /// Whether the file is ours to finish.
    purpose: Purpose,
}

impl SqliteJournal {
    /// Opens or creates the file, and its folder, for this user alone, and brings it to the newest schema. A file that was
    /// copied without its log is refused.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        check(path)?;
        Self::open_for(path, Purpose::Work)
    }

    /// Beside the process that works on it, or in its absence.
    pub fn open_for_command(path: &Path) -> Result<Self, JournalError> {
        check(path)?;
        Self::open_for(path, Purpose::Command)
    }

    /// Though its log may be lost: an operator has said that this is all there is.
    pub fn open_without_log(path: &Path) -> Result<Self, JournalError> {
        Self::open_for(path, Purpose::Command)
    }

    fn open_for(path: &Path, purpose: Purpose) -> Result<Self, JournalError> {
        connection::create_private(path)?;
        if path.metadata().is_ok_and(|file| file.len() == 0) {
            // With its tables before it has a log, so that a file without any has certainly lost one.
            let mut new = connection::open_new(path)?;
            connection::in_transaction(&mut new, |store| at_once(migrate(store, MIGRATIONS)))?;
        }
        let mut connection = connection::open(path)?;
        connection::in_transaction(&mut connection, |store| at_once(migrate(store, MIGRATIONS)))?;
        if purpose == Purpose::Work {
            wholeness::begin_use(path, &connection)?;
        }
        Self::over(path, connection, purpose)
    }

    /// In the memory of this process alone: for tests, which need no file. It is gone when it is closed.
    pub fn in_memory() -> Result<Self, JournalError> {
        // SQLite shares what has such a name between the connections of a process.
        let name = format!("file:/{}?vfs=memdb", uuid::Uuid::now_v7());
        let mut connection = connection::open(Path::new(&name))?;
        connection::in_transaction(&mut connection, |store| at_once(migrate(store, MIGRATIONS)))?;
        Self::over(Path::new(&name), connection, Purpose::Memory)
    }

    fn over(path: &Path, mut connection: Connection, purpose: Purpose) -> Result<Self, JournalError> {
        let checkpointer = Checkpointer::start(path, &mut connection)?;
        let place = Place::of(path);
        Ok(Self {
            continuity: Continuity::default(),
            writer: Writer::start(connection, place.clone())?,
            _checkpointer: checkpointer,
            readers: Readers::new(path),
            end: EndOfUse { place, purpose },
        })
    }

    pub fn writer_counts(&self) -> WriterCounts {
        self.writer.counts()
    }

    /// Waits until what was handed in is done and the file is closed. Dropping does the same, but blocks its thread.
    pub async fn close(self) {
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

/// Whether a journal could be opened here, without touching anything.
pub fn check(path: &Path) -> Result<(), JournalError> {
    kind::check(path)?;
    wholeness::check(path)?;
    kind::version(path).map_or(Ok(()), |version| applied(version, MIGRATIONS).map(drop))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Work,
    /// An operator's command, beside the process that works on the file or in its absence.
    Command,
    /// There is no file.
    Memory,
}

impl Drop for EndOfUse {
    /// In order: whoever finds the file later needs no log beside it. A command closes it for a process that has died.
    fn drop(&mut self) {
        let is_ours = match self.purpose {
            Purpose::Work => true,
            Purpose::Command => matches!(try_own(self.place.path()), Ok(Some(_))),
            Purpose::Memory => false,
        };
        // In place of what was removed nothing new is made.
        if is_ours && self.place.has_file() {
            wholeness::end_use(self.place.path());
        }
    }
}

impl Database for SqliteJournal {
    fn continuity(&self) -> &Continuity {
        &self.continuity
    }

    async fn perform<O: Operation>(&self, operation: O) -> Result<O::Output, JournalError> {
        if !O::EVEN_WHEN_SUSPENDED {
            self.continuity.check()?;
        }
        match O::ACCESS {
            Access::Read => self.readers.read(operation).await,
            Access::Write | Access::Probe => self.writer.write(operation).await,
        }
    }

    async fn leave_no_trace(&self) -> Result<(), JournalError> {
        if self.end.purpose == Purpose::Memory {
            return Ok(());
        }
        traces::remove(self.end.place.path()).await
    }
}
