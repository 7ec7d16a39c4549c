//! Checkpoints: how long the log has become comes in after each commit; its pages go into the database on a thread of their
//! own, so that no commit waits for them.
//!
//! A log begins again only when everything in it is in the database (sqlite.org/wal.html, section 3.3), and while
//! commits come without a pause the thread never gets so far. What little is left then is the writer's.

use super::{connection, log_id};
use crate::journal::JournalError;
use rusqlite::{Connection, MAIN_DB, hooks::Wal, wal::CheckpointMode};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
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
/// How long the rest is left to the writer, which may have nothing to commit.
const REST_WAITS: Duration = Duration::from_secs(1);

/// The writer gathers commands for about as long before it begins the next commit.
const BETWEEN_COMMITS: Duration = Duration::from_micros(100);

pub struct Checkpointer {
    thread: Option<JoinHandle<()>>,
}

/// What the thread works with.
struct Pages {
    path: PathBuf,
    connection: Connection,
    /// The writer is asked to do it.
    rest_is_small: Arc<AtomicBool>,
    /// It has done so. Closed when the writer's connection is.
    rest_done: Receiver<()>,
}

impl Checkpointer {
    /// For all that `writer` commits to the file.
    pub fn start(path: &Path, writer: &mut Connection) -> Result<Self, JournalError> {
        let mut connection = connection::open(path)?;
        connection.busy_handler(Some(wait_between_commits)).map_err(connection::failed)?;
        let (wake, woken) = sync_channel(1);
        let rest_is_small = Arc::new(AtomicBool::new(false));
        let (done, rest_done) = sync_channel(1);
        let pages = Pages { path: path.to_owned(), connection, rest_is_small: rest_is_small.clone(), rest_done };
        let after_commit = move |wal: &mut Wal, frames| {
            if rest_is_small.swap(false, Ordering::AcqRel) {
                // What cannot be done now is done later: the commit is on disk in either case.
                let _ = wal.checkpoint();
                let _ = done.try_send(());
            } else if frames >= BEGIN_FRAMES {
                let _ = wake.try_send(());
            }
            Ok(())
        };
        writer.wal_hook(Some(after_commit)).map_err(connection::failed)?;
        let thread = std::thread::Builder::new()
            .name("journal-pages".into())
            .spawn(move || pages.checkpoint_until_closed(&woken))
            .map_err(|error| JournalError::Unavailable(format!("no thread for checkpoints: {error}")))?;
        Ok(Self { thread: Some(thread) })
    }
}

/// SQLite itself would ask again after a tenth of a second, and while commits come without a pause always be too late.
fn wait_between_commits(times: i32) -> bool {
    std::thread::sleep(BETWEEN_COMMITS);
    times < 50_000
}

impl Drop for Checkpointer {
    /// After the writer's connection: with that goes what wakes the thread, and the thread ends.
    fn drop(&mut self) {
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal's thread for checkpoints panicked");
        }
    }
}

impl Pages {
    fn checkpoint_until_closed(&self, woken: &Receiver<()>) {
        while woken.recv().is_ok() {
            if let Err(error) = self.checkpoint() {
                tracing::warn!(%error, "no checkpoint of the journal now; its log grows until there can be one");
                std::thread::sleep(AFTER_FAILURE);
            }
        }
    }

    fn checkpoint(&self) -> Result<(), JournalError> {
        let emptied = log_id::empty(&self.path)?;
        let mut before = 0;
        for _ in 0..PASSES {
            let passed = self.connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE);
            let (_, done) = passed.map_err(connection::failed)?;
            if done - before <= REST_FRAMES {
                self.leave_the_rest();
                break;
            }
            before = done;
        }
        drop(emptied);
        log_id::begin(&self.path, &self.connection)
    }

    /// To the writer, whose checkpoint has to be over before a new log begins.
    fn leave_the_rest(&self) {
        self.rest_is_small.store(true, Ordering::Release);
        let waited = self.rest_done.recv_timeout(REST_WAITS);
        if waited == Err(RecvTimeoutError::Timeout) && !self.rest_is_small.swap(false, Ordering::AcqRel) {
            // It has just begun.
            let _ = self.rest_done.recv();
        }
    }
}
