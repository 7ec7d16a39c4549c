//! A few connections that only read: an operation comes in, it runs on a thread that may block, its answer goes out.

use super::{connection, connection::SqliteStore, run::run};
use crate::journal::{JournalError, operations::Operation};
use rusqlite::Connection;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Semaphore;

const READERS: usize = 4;

pub struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Arc::default(), permits: Arc::new(Semaphore::new(READERS)) }
    }

    pub async fn read<O: Operation>(&self, operation: O) -> Result<O::Output, JournalError> {
        let unavailable = |what: &str| JournalError::Unavailable(what.to_owned());
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| unavailable("the readers are closed"))?;
        let (path, idle) = (self.path.clone(), self.idle.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = kept.map_or_else(|| open(&path), Ok)?;
            let outcome = run(&operation, &mut SqliteStore(&mut connection));
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            outcome
        });
        reading.await.map_err(|_| unavailable("a reader was stopped"))?
    }
}

fn open(path: &Path) -> Result<Connection, JournalError> {
    let connection = connection::open(path)?;
    connection::command(&connection, "PRAGMA query_only = ON")?;
    connection::command(&connection, "PRAGMA cache_size = -1024")?;
    Ok(connection)
}
