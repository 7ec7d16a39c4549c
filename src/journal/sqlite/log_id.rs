//! Log ids: whether somebody else has put all of the log into the file. After a crash `sqlite3` does so when it closes the
//! file, and takes the log away; what it leaves looks like a file that was copied without its log, but lacks nothing.
//!
//! A log's first change gives it an id, which is noted beside the file. Before we put any part of a log into the file, the
//! note is emptied. So a file with the noted id got it from somebody else, who puts in a whole log and nothing less. A copy
//! that such a tool has made of the journal while it was open has the id as well, but another schema cookie.

use super::{
    beside::beside,
    connection::{self, create_private},
};
use crate::journal::JournalError;
use rusqlite::Connection;
use std::{
    fs::{File, TryLockError},
    io::{self, Write},
    path::Path,
};

/// The end of the note's name.
pub const NOTE: &str = "-log-id";

/// While it lives, parts of the log may be put into the file, and no new log begins in any process.
pub struct Emptied {
    _note: File,
}

/// Before a checkpoint.
pub fn empty(journal: &Path) -> Result<Emptied, JournalError> {
    let place = beside(journal, NOTE);
    let emptied = || -> io::Result<Emptied> {
        let note = open(&place)?;
        note.lock_shared()?;
        if note.metadata()?.len() > 0 {
            note.set_len(0)?;
            note.sync_all()?;
        }
        Ok(Emptied { _note: note })
    };
    create_private(&place)?;
    emptied().map_err(|error| at(&place, &error))
}

/// After a checkpoint, and after what [`empty`] gave is gone. Whoever is still at one begins the log instead.
pub fn begin(journal: &Path, connection: &Connection) -> Result<(), JournalError> {
    let place = beside(journal, NOTE);
    create_private(&place)?;
    let mut note = open(&place).map_err(|error| at(&place, &error))?;
    match note.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(at(&place, &error)),
    }
    let id: i64 = rand::random();
    let cookie = cookie(connection).map_err(connection::failed)?;
    // The note first: one without its change in the log says of no file that it is whole.
    let noted = note.set_len(0).and_then(|()| note.write_all(words(id, cookie).as_bytes()));
    noted.and_then(|()| note.sync_all()).map_err(|error| at(&place, &error))?;
    let begun = connection.execute("UPDATE installation SET log_id = ?1 WHERE in_use = 1", [id]);
    begun.map(|_| ()).map_err(connection::failed)
}

/// Whether the id that stands in the file itself is the noted one.
pub fn is_noted(journal: &Path, file: &Connection) -> rusqlite::Result<bool> {
    let is_known = "SELECT count(*) FROM pragma_table_info('installation') WHERE name = 'log_id'";
    if file.query_row(is_known, (), |row| row.get::<_, u32>(0))? == 0 {
        return Ok(false);
    }
    let id: Option<i64> = file.query_row("SELECT log_id FROM installation", (), |row| row.get(0))?;
    let (cookie, noted) = (cookie(file)?, std::fs::read_to_string(beside(journal, NOTE)).ok());
    Ok(id.is_some_and(|id| noted == Some(words(id, cookie))))
}

/// The file format's "schema cookie" (sqlite.org/fileformat2.html, section 1.3.10): whatever rewrites a file or copies it
/// page by page changes it.
fn cookie(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA schema_version", (), |row| row.get(0))
}

fn words(id: i64, cookie: i64) -> String {
    format!("{id} {cookie}")
}

fn open(place: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(place)
}

fn at(place: &Path, error: &io::Error) -> JournalError {
    JournalError::Unavailable(format!("{}: {error}", place.display()))
}
