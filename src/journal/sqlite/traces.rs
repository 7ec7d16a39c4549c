//! Traces: what was erased is overwritten in the database's pages (`secure_delete`), but the log still has the pages as they
//! were. All of it goes into the database, and the log is cut to nothing.

use super::connection;
use crate::journal::JournalError;
use rusqlite::{MAIN_DB, wal::CheckpointMode};
use std::{path::Path, time::Duration};

/// Each waits for readers and writers as long as a statement does.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(100);

pub async fn remove(path: &Path) -> Result<(), JournalError> {
    let path = path.to_owned();
    let removing = tokio::task::spawn_blocking(move || cut_log(&path));
    removing.await.map_err(|_| JournalError::Unavailable("the journal is being closed".into()))?
}

fn cut_log(path: &Path) -> Result<(), JournalError> {
    let connection = connection::open(path)?;
    for _ in 0..TRIES {
        match connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE) {
            Ok(_) => return Ok(()),
            Err(error) if !connection::is_busy(&error) => return Err(connection::failed(error)),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
    let text = "it is erased, but the log could not be cut, because the journal is being read all the time: it still holds \
                what was erased until the next time";
    Err(JournalError::Unavailable(text.into()))
}
