//! Group commit: commands of many tasks come in, one transaction for all that wait goes to disk, then each gets its answer.

use super::{connection, connection::SqliteStore, place::Place, run::run};
use crate::journal::{JournalError, operations::Operation};
use rusqlite::Connection;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Commands that share one transaction, and one wait for the disk.
const BATCH_COMMANDS: usize = 256;
/// Commands that may wait before callers have to.
const WAITING_COMMANDS: usize = 1024;
/// With so many commands at least, a transaction waits a little for more: they share pages, and the wait for the disk.
const COMMIT_SIBLINGS: usize = 3;
const COMMIT_DELAY: Duration = Duration::from_micros(200);

pub struct Writer {
    commands: Option<mpsc::Sender<Box<dyn Command>>>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
}

/// How much the writer has done, for tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterCounts {
    pub commands: u64,
    pub commits: u64,
}

#[derive(Default)]
struct Counters {
    commands: AtomicU64,
    commits: AtomicU64,
}

/// An operation on its way through the writer thread.
trait Command: Send {
    /// Whether its changes are to be kept. It may be run again after its transaction was rolled back.
    fn run(&mut self, store: &mut SqliteStore<'_>) -> bool;
    /// `failure`: why the transaction was not committed.
    fn answer(self: Box<Self>, failure: Option<&str>);
}

struct Pending<O: Operation> {
    operation: O,
    outcome: Result<O::Output, JournalError>,
    answer: oneshot::Sender<Result<O::Output, JournalError>>,
}

impl Writer {
    /// `place`: where the connection's files lay when it was opened.
    pub fn start(connection: Connection, place: Place) -> Result<Self, JournalError> {
        let (commands, waiting) = mpsc::channel(WAITING_COMMANDS);
        let counters = Arc::new(Counters::default());
        let counted = counters.clone();
        let thread = std::thread::Builder::new()
            .name("journal-writer".into())
            .spawn(move || write_until_closed(connection, &place, waiting, &counted))
            .map_err(|error| JournalError::Unavailable(format!("no thread to write with: {error}")))?;
        Ok(Self { commands: Some(commands), thread: Some(thread), counters })
    }

    pub async fn write<O: Operation>(&self, operation: O) -> Result<O::Output, JournalError> {
        let stopped = || JournalError::Unavailable("the writer has stopped".into());
        let (answer, answered) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or_else(stopped)?;
        let pending = Pending { operation, outcome: Err(stopped()), answer };
        commands.send(Box::new(pending)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    pub fn counts(&self) -> WriterCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriterCounts { commands: of(&self.counters.commands), commits: of(&self.counters.commits) }
    }

    /// Lets the thread finish what it was given, and waits for it.
    pub fn stop(&mut self) {
        self.commands = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal's writer thread panicked");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn write_until_closed(
    mut connection: Connection,
    place: &Place,
    mut waiting: mpsc::Receiver<Box<dyn Command>>,
    counters: &Counters,
) {
    while let Some(first) = waiting.blocking_recv() {
        let mut batch = vec![first];
        gather(&mut batch, &mut waiting);
        if batch.len() >= COMMIT_SIBLINGS {
            std::thread::sleep(COMMIT_DELAY);
            gather(&mut batch, &mut waiting);
        }
        let written = place.check().and_then(|()| write_batch(&mut connection, &mut batch));
        if let Err(error) = &written {
            connection::roll_back(&connection);
            tracing::error!(%error, commands = batch.len(), "the journal could not commit");
        }
        counters.commands.fetch_add(batch.len() as u64, Ordering::Relaxed);
        counters.commits.fetch_add(u64::from(written.is_ok()), Ordering::Relaxed);
        let failure = written.err().map(|error| match error {
            JournalError::Unavailable(text) => text,
            error => error.to_string(),
        });
        batch.into_iter().for_each(|command| command.answer(failure.as_deref()));
    }
}

/// What has come in meanwhile.
fn gather(batch: &mut Vec<Box<dyn Command>>, waiting: &mut mpsc::Receiver<Box<dyn Command>>) {
    while batch.len() < BATCH_COMMANDS
        && let Ok(next) = waiting.try_recv()
    {
        batch.push(next);
    }
}

fn write_batch(connection: &mut Connection, batch: &mut [Box<dyn Command>]) -> Result<(), JournalError> {
    if write_together(connection, batch)? {
        return Ok(());
    }
    connection::roll_back(connection);
    write_apart(connection, batch)
}

/// Without savepoints, which copy every page that a command changes. That is enough as long as no command fails half-way
/// (a forbidden event fails before it changes anything). `false`: one did, and nothing is committed.
fn write_together(connection: &mut Connection, batch: &mut [Box<dyn Command>]) -> Result<bool, JournalError> {
    connection::begin(connection)?;
    for command in batch {
        let changes = connection.total_changes();
        let is_kept = command.run(&mut SqliteStore(connection));
        if !is_kept && (connection.total_changes() != changes || connection.is_autocommit()) {
            return Ok(false);
        }
    }
    connection::commit(connection).map(|()| true)
}

/// Once more, each command in a savepoint of its own, so that only the one that fails is undone.
fn write_apart(connection: &mut Connection, batch: &mut [Box<dyn Command>]) -> Result<(), JournalError> {
    connection::begin(connection)?;
    for command in batch {
        connection::command(connection, "SAVEPOINT command")?;
        if !command.run(&mut SqliteStore(connection)) {
            // Fails if the error has ended the whole transaction, as a full disk does: then nobody's command is done.
            connection::command(connection, "ROLLBACK TO command")?;
        }
        connection::command(connection, "RELEASE command")?;
    }
    connection::commit(connection)
}

impl<O: Operation> Command for Pending<O> {
    fn run(&mut self, store: &mut SqliteStore<'_>) -> bool {
        self.outcome = run(&self.operation, store);
        self.outcome.is_ok()
    }

    fn answer(self: Box<Self>, failure: Option<&str>) {
        let outcome = failure.map_or(self.outcome, |why| Err(JournalError::Unavailable(why.to_owned())));
        // A caller that has gone away needs no answer.
        let _ = self.answer.send(outcome);
    }
}
