//! Checkpoints: how long the log has become comes in after each commit; its pages go into the database on a thread of their
//! own, so that no commit waits for them.
//!
//! A log begins again only when everything in it is in the database (sqlite.org/wal.html, section 3.3), and while
//! commits come without a pause the thread never gets so far. What little is left then is the writer's.

use super::connection;
use crate::journal::JournalError;
use rusqlite::{Connection, MAIN_DB, hooks::Wal, wal::CheckpointMode};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Frames of the log, a page each: a page that is changed often is written to the database once.
const BEGIN_FRAMES: i32 = 4000;
/// As many take the writer a millisecond or two.
const REST_FRAMES: i32 = 256;
/// Passes over what has come during the pass before, if it does not become less.
const PASSES: usize = 4;
/// A disk that is full is full for more than one commit.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

pub struct Checkpointer {
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// For all that `writer` commits to the file.
    pub fn start(path: &Path, writer: &mut Connection) -> Result<Self, JournalError> {
        let connection = connection::open(path)?;
        let (wake, woken) = sync_channel(1);
        let rest_is_small = Arc::new(AtomicBool::new(false));
        let done = rest_is_small.clone();
        let after_commit = move |wal: &mut Wal, frames| {
            if rest_is_small.swap(false, Ordering::Relaxed) {
                // What cannot be done now is done later: the commit is on disk in either case.
                let _ = wal.checkpoint();
            } else if frames >= BEGIN_FRAMES {
                let _ = wake.try_send(());
            }
            Ok(())
        };
        writer.wal_hook(Some(after_commit)).map_err(connection::failed)?;
        let thread = std::thread::Builder::new()
            .name("journal-pages".into())
            .spawn(move || checkpoint_until_closed(&connection, &woken, &done))
            .map_err(|error| JournalError::Unavailable(format!("no thread for checkpoints: {error}")))?;
        Ok(Self { thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    /// After the writer's connection: with that goes what wakes the thread, and the thread ends.
    fn drop(&mut self) {
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal's thread for checkpoints panicked");
        }
    }
}

fn checkpoint_until_closed(connection: &Connection, woken: &Receiver<()>, rest_is_small: &AtomicBool) {
    while woken.recv().is_ok() {
        let mut before = 0;
        for _ in 0..PASSES {
            match connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE) {
                Ok((_, done)) if done - before <= REST_FRAMES => {
                    rest_is_small.store(true, Ordering::Relaxed);
                    break;
                }
                Ok((_, done)) => before = done,
                Err(error) => {
                    let error = connection::failed(error);
                    tracing::warn!(%error, "no checkpoint of the journal now; its log grows until there can be one");
                    std::thread::sleep(AFTER_FAILURE);
                    break;
                }
            }
        }
    }
}
