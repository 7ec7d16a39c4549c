//! Wholeness: a file that was open when it was copied lacks its log, which holds the newest changes, at worst all of them.
//! The file itself says that it was open: its path comes in, and such a file is refused in words, unless somebody has put
//! all of its log into it.

use super::{beside::log_of, connection, log_id};
use crate::journal::JournalError;
use rusqlite::{Connection, MAIN_DB, OpenFlags, wal::CheckpointMode};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The file format's "read version" of a database with a log (sqlite.org/fileformat2.html, section 1.3.3).
const WITH_LOG: u8 = 2;
const READ_VERSION_AT: usize = 19;

/// Whether everything is there that belongs to the file.
pub fn check(path: &Path) -> Result<(), JournalError> {
    // A log that is there belongs to it; and whoever opens the file at this moment makes one.
    if log_of(path).exists() || !has_lost_its_log(path) || log_of(path).exists() {
        return Ok(());
    }
    Err(JournalError::Incomplete(format!(
        "the journal {0} is not whole: its log {1}, which holds the newest changes, is missing. It was copied while a process \
         had it open, or the log was removed. Put the log back beside it, or put a backup in place with `punte journal restore` \
         (`punte journal backup` takes one while Punte runs); or, if this file is all there is, run `punte journal restored`. \
         That is right, too, if nothing was copied or removed, but another program has put the log into the file while Punte \
         was just doing so",
        path.display(),
        log_of(path).display()
    )))
}

fn has_lost_its_log(path: &Path) -> bool {
    let Ok(head) = head_of(path) else { return false };
    let Some(read_version) = head.get(READ_VERSION_AT) else { return false };
    // What else is wrong with it is told by who opens it.
    match in_file(path) {
        Ok(Found::NoTable) => *read_version == WITH_LOG,
        Ok(Found::InUse) => true,
        Ok(Found::Closed | Found::Whole) | Err(_) => false,
    }
}

enum Found {
    NoTable,
    InUse,
    /// As it was when its process was killed: somebody else has put all of its log into it.
    Whole,
    /// Or of a release that did not note it.
    Closed,
}

/// In the file alone, whatever a log may say, and without touching anything.
fn in_file(path: &Path) -> rusqlite::Result<Found> {
    let connection = untouched(path)?;
    let count = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0));
    if count("SELECT count(*) FROM sqlite_schema")? == 0 {
        return Ok(Found::NoTable);
    }
    if count("SELECT count(*) FROM sqlite_schema WHERE name = 'installation'")? == 0 {
        return Ok(Found::Closed);
    }
    if count("SELECT count(*) FROM installation WHERE in_use = 1")? == 0 {
        return Ok(Found::Closed);
    }
    Ok(if log_id::is_noted(path, &connection)? { Found::Whole } else { Found::InUse })
}

/// The file alone, to be read.
pub fn untouched(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
}

fn head_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(100).read_to_end(&mut head)?;
    Ok(head)
}

/// From now on the file itself says that its log belongs to it.
pub fn begin_use(path: &Path, connection: &Connection) -> Result<(), JournalError> {
    let emptied = log_id::empty(path)?;
    connection::command(connection, "UPDATE installation SET in_use = 1")?;
    // While others have it open, they have said so already.
    let _ = connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE);
    drop(emptied);
    log_id::begin(path, connection)
}

/// The last connection that closes puts everything into the file.
pub fn end_use(path: &Path) {
    let ended = connection::open(path).and_then(|it| connection::command(&it, "UPDATE installation SET in_use = 0"));
    if let Err(error) = ended {
        tracing::warn!(%error, "the journal could not be closed in order; its log stays beside it");
    }
}
