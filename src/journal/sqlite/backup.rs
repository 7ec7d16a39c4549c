//! Backups: a journal that may be in use comes in, a whole copy of it goes out; and a copy takes a journal's place.

use super::{
    beside::beside,
    connection::{self, BUSY_TIMEOUT},
    log_id,
    ownership::{LOCK, try_own},
    wholeness,
};
use crate::journal::JournalError;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
};

/// One look at the journal, whatever is written meanwhile. The copy says of itself that it is one: whoever works with it
/// knows that more may have been sent since.
pub fn back_up(journal: &Path, file: &Path) -> Result<(), JournalError> {
    if !journal.exists() {
        return Err(JournalError::Unavailable(format!("there is no journal at {}", journal.display())));
    }
    wholeness::check(journal)?;
    copy(journal, file)
}

/// What is there is kept beside it, where the name that comes out says.
pub fn put_in_place(file: &Path, journal: &Path) -> Result<Option<PathBuf>, JournalError> {
    if !file.is_file() {
        let what = if file.exists() { "is no file" } else { "is not there" };
        return Err(JournalError::Unavailable(format!("the backup {} {what}: name another one", file.display())));
    }
    wholeness::check(file)?;
    check_is_journal(file)?;
    let _ownership = try_own(journal)?.ok_or_else(|| {
        JournalError::Unavailable("a process has the journal open: stop it first (`punte serve`)".into())
    })?;
    let now = Timestamp::now();
    let next = beside(journal, ".restoring");
    remove_if_there(&next)?;
    copy(file, &next)?;
    give_to_owner_of(journal, &next)?;
    give_to_owner_of(journal, &beside(journal, LOCK))?;
    let aside = unused(journal, &format!(".before-restore-{}", now.strftime("%Y%m%dT%H%M%SZ")));
    let was_there = journal.exists();
    for end in ["", "-wal", "-shm", log_id::NOTE] {
        let (from, to) = (beside(journal, end), beside(&aside, end));
        if from.exists() {
            std::fs::rename(&from, &to).map_err(|error| at(&from, &error))?;
        }
    }
    std::fs::rename(&next, journal).map_err(|error| at(journal, &error))?;
    sync_folder(journal)?;
    Ok(was_there.then_some(aside))
}

/// An operator may be somebody else than the user that runs Punte: the file belongs to whom the one in its place belongs, or the
/// folder.
fn give_to_owner_of(journal: &Path, next: &Path) -> Result<(), JournalError> {
    let Ok(before) = journal.metadata().or_else(|_| folder_of(journal).metadata()) else { return Ok(()) };
    let made = next.metadata().map_err(|error| at(next, &error))?;
    if (made.uid(), made.gid()) == (before.uid(), before.gid()) {
        return Ok(());
    }
    chown(next, Some(before.uid()), Some(before.gid())).map_err(|error| at(next, &error))
}

fn copy(from: &Path, to: &Path) -> Result<(), JournalError> {
    // Nothing is written over: the file is made here, for this user alone, and is still empty.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => JournalError::Unavailable(format!(
            "{} exists already, and is not written over: name another file",
            to.display()
        )),
        _ => at(to, &error),
    })?;
    let copied = filled(from, to);
    if copied.is_err() {
        let _ = std::fs::remove_file(to);
    }
    copied
}

fn filled(from: &Path, to: &Path) -> Result<(), JournalError> {
    let source = to_read(from)?;
    let target = to.to_string_lossy();
    source.execute("VACUUM INTO ?1", [target.as_ref()]).map_err(connection::failed)?;
    drop(source);
    let copy = Connection::open(to).map_err(connection::failed)?;
    let has_mark = "SELECT count(*) FROM sqlite_schema WHERE name = 'installation'";
    if copy.query_row(has_mark, (), |row| row.get::<_, i64>(0)).map_err(connection::failed)? > 0 {
        let stamp = "UPDATE installation SET copied_at = coalesce(copied_at, ?1), in_use = 0";
        copy.execute(stamp, [Timestamp::now().as_microsecond()]).map_err(connection::failed)?;
    }
    copy.close().map_err(|(_, error)| connection::failed(error))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(|error| at(to, &error))?;
    sync_folder(to)
}

/// Whole, and one of ours.
fn check_is_journal(file: &Path) -> Result<(), JournalError> {
    let connection = to_read(file)?;
    let text = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, String>(0)).map_err(connection::failed);
    let tables = text("SELECT count(*) || '' FROM sqlite_schema WHERE name IN ('submissions', 'schema_version')")?;
    if tables != "2" {
        return Err(JournalError::Corrupt(format!("{} is no journal of Punte", file.display())));
    }
    match text("PRAGMA quick_check(1)")?.as_str() {
        "ok" => Ok(()),
        _ => Err(JournalError::Corrupt(format!("{} is damaged", file.display()))),
    }
}

/// As it is: whoever only reads puts no log into the file, and leaves it beside.
fn to_read(path: &Path) -> Result<Connection, JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(connection::failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(connection::failed)?;
    Ok(connection)
}

/// A name that is nobody's yet.
fn unused(journal: &Path, end: &str) -> PathBuf {
    let first = beside(journal, end);
    let others = (2..).map(|number| beside(journal, &format!("{end}-{number}")));
    std::iter::once(first.clone()).chain(others).find(|path| !path.exists()).unwrap_or(first)
}

fn remove_if_there(path: &Path) -> Result<(), JournalError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path, &error)),
        _ => Ok(()),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(path: &Path) -> Result<(), JournalError> {
    let folder = folder_of(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| at(folder, &error))
}

fn at(path: &Path, error: &io::Error) -> JournalError {
    JournalError::Unavailable(format!("{}: {error}", path.display()))
}
