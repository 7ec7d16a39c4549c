//! Traces: what was erased is overwritten in the database's pages (`secure_delete`), but the log still has the pages as they
//! were, and a page from which rows were moved to another may still show them. The pages are put together anew, all of the
//! log goes into the database, and the log is cut to nothing.

use super::{connection, log_id};
use crate::journal::JournalError;
use rusqlite::{Connection, MAIN_DB, wal::CheckpointMode};
use std::{path::Path, time::Duration};

/// Up to here putting all pages together anew keeps writers waiting for a second or two at most. A larger journal is
/// rewritten by a backup that takes its place.
const REWRITTEN_UP_TO_BYTES: u64 = 128 << 20;
/// Each waits for readers and writers as long as a statement does.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(100);

pub async fn remove(path: &Path) -> Result<(), JournalError> {
    let path = path.to_owned();
    let removing = tokio::task::spawn_blocking(move || remove_now(&path));
    removing.await.map_err(|_| JournalError::Unavailable("the journal is being closed".into()))?
}

fn remove_now(path: &Path) -> Result<(), JournalError> {
    let connection = connection::open(path)?;
    let emptied = log_id::empty(path)?;
    if path.metadata().is_ok_and(|file| file.len() <= REWRITTEN_UP_TO_BYTES) {
        when_free(&connection, |it| it.execute_batch("VACUUM"))?;
    }
    when_free(&connection, |it| it.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE).map(|_| ()))?;
    drop(emptied);
    log_id::begin(path, &connection)
}

fn when_free(connection: &Connection, work: impl Fn(&Connection) -> rusqlite::Result<()>) -> Result<(), JournalError> {
    for _ in 0..TRIES {
        match work(connection) {
            Ok(()) => return Ok(()),
            Err(error) if !connection::is_busy(&error) => return Err(connection::failed(error)),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
    let text = "it is erased, but the journal's files could not be tidied, because it is being used all the time: they may still \
                hold what was erased until the next time";
    Err(JournalError::Unavailable(text.into()))
}
