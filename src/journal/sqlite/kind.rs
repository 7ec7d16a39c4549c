//! What kind of file it is: its path comes in; one that is no journal of Punte's is refused in words, untouched.

use super::beside::{log_of, rollback_of};
use crate::journal::JournalError;
use rusqlite::{Connection, ErrorCode};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::Duration,
};

pub fn check(path: &Path) -> Result<(), JournalError> {
    let refused =
        |what: &str, remedy: &str| Err(JournalError::Incomplete(format!("{} {what}: {remedy}", path.display())));
    let other = "name another file in journal.url, or put a backup in its place with `punte journal restore`";
    let Ok(kind) = path.metadata() else {
        return match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                refused("is a link to a file that is not there", "remove the link, or make the file's folder")
            }
            // Somebody else has made it at this very moment.
            Ok(_) => check(path),
            Err(_) => Ok(()),
        };
    };
    if kind.is_dir() {
        return refused("is a folder", "name a file in it in journal.url");
    }
    if !kind.is_file() {
        return refused("is no file", other);
    }
    if !stands_alone(path) {
        return Ok(());
    }
    if has_other_head(path).unwrap_or(false) {
        return refused("is no file of SQLite's", other);
    }
    match has_foreign_tables(path) {
        Ok(false) => Ok(()),
        Ok(true) => refused("is another program's database", other),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            refused("is no file of SQLite's", other)
        }
        // It is told by who opens it.
        Err(_) => Ok(()),
    }
}

/// Until what lies beside it has been put into it, the file alone may be torn.
fn stands_alone(path: &Path) -> bool {
    ![log_of(path), rollback_of(path)].iter().any(|beside| beside.exists())
}

/// Of its schema; `None`: the file alone cannot say it, or nobody has written to it yet.
pub fn version(path: &Path) -> Option<i64> {
    if !stands_alone(path) || !path.exists() {
        return None;
    }
    let connection = super::wholeness::untouched(path).ok()?;
    connection.query_row("SELECT max(version) FROM schema_version", (), |row| row.get(0)).ok()
}

/// What every file of SQLite's begins with (sqlite.org/fileformat2.html, section 1.3.1). It takes a shorter file for an empty one.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// An empty file is one that nobody has written to yet.
fn has_other_head(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut head)?;
    Ok(!head.is_empty() && head != MAGIC)
}

/// Without locks: a file that another process is just making is looked at once more.
fn has_foreign_tables(path: &Path) -> rusqlite::Result<bool> {
    let is_made = || lacks_ours(path).map(|lacks| !lacks);
    if is_made()? {
        return Ok(false);
    }
    std::thread::sleep(MAKING);
    Ok(!is_made()?)
}

/// Long enough for the tables of a new journal.
const MAKING: Duration = Duration::from_millis(500);

/// In the file alone: a journal has its tables before it has a log.
fn lacks_ours(path: &Path) -> rusqlite::Result<bool> {
    let connection = super::wholeness::untouched(path)?;
    let count = |connection: &Connection, sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0));
    let ours = "SELECT count(*) FROM pragma_table_info('submissions') WHERE name = 'state_data'";
    Ok(count(&connection, "SELECT count(*) FROM sqlite_schema")? > 0 && count(&connection, ours)? == 0)
}
