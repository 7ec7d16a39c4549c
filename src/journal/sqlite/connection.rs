//! One connection: statements come in, rows go out, and SQLite's errors lose what they might tell about a row.

use crate::{
    failpoints::{self, Failpoint},
    journal::{
        JournalError,
        bulk::RowStatement,
        store::{Row, Statement, Store, Value},
    },
};
use rusqlite::{
    Connection, ErrorCode, ToSql,
    config::DbConfig,
    types::{ToSqlOutput, ValueRef},
};
use std::{
    fs::{DirBuilder, OpenOptions},
    future::ready,
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// How long a connection waits for another process that writes.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// `secure_delete`: what is erased must not stay readable in free pages of the file. `wal_autocheckpoint`: no part of the log
/// goes into the file unless its note was emptied before (`log_id.rs`).
const SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = FULL; \
                        PRAGMA foreign_keys = ON; \
                        PRAGMA secure_delete = ON; PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -2048;";

/// Borrowed mutably though SQLite needs no more than `&`, because a `&Connection` may not go to another thread.
pub struct SqliteStore<'a>(pub &'a mut Connection);

/// An empty file of this user alone, in a folder of this user alone. SQLite gives its other files the same mode.
pub fn create_private(path: &Path) -> Result<(), JournalError> {
    let failed = |error: io::Error| JournalError::Unavailable(format!("cannot create {}: {error}", path.display()));
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(|_| ()).map_err(failed)
}

pub fn open(path: &Path) -> Result<Connection, JournalError> {
    let begun = Instant::now();
    let settled = loop {
        match settled(path) {
            // Who makes a new file a WAL at the same moment as another is told so without any waiting.
            Err(error) if is_busy(&error) && begun.elapsed() < BUSY_TIMEOUT => std::thread::sleep(BUSY_PAUSE),
            settled => break settled,
        }
    };
    settled.map_err(|error| match failed(error) {
        JournalError::Unavailable(why) => JournalError::Unavailable(format!("{}: {why}", path.display())),
        JournalError::Corrupt(why) => JournalError::Corrupt(format!("{}: {why}", path.display())),
        other => other,
    })
}

/// A new file, before it is given a log.
pub fn open_new(path: &Path) -> Result<Connection, JournalError> {
    let connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    Ok(connection)
}

fn settled(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch(SETTINGS)?;
    // A plan once made stays: it does not depend on the values that are bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

pub fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// Takes the write lock at once: a transaction that begins with reading could not get it later.
pub fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut SqliteStore<'_>) -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    begin(connection)?;
    let outcome = work(&mut SqliteStore(connection)).and_then(|value| commit(connection).map(|()| value));
    if outcome.is_err() {
        roll_back(connection);
    }
    outcome
}

pub fn begin(connection: &Connection) -> Result<(), JournalError> {
    command(connection, "BEGIN IMMEDIATE")
}

pub fn commit(connection: &Connection) -> Result<(), JournalError> {
    failpoints::hit(Failpoint::SqliteCommitting);
    let committed = command(connection, "COMMIT");
    failpoints::hit(Failpoint::SqliteCommitted);
    committed
}

/// Some errors have ended the transaction already.
pub fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = command(connection, "ROLLBACK")
    {
        tracing::error!(%error, "the journal could not roll back");
    }
}

pub fn command(connection: &Connection, sql: &str) -> Result<(), JournalError> {
    connection.prepare_cached(sql).and_then(|mut it| it.execute(())).map(|_| ()).map_err(failed)
}

impl Store for SqliteStore<'_> {
    const LOCKED: &'static str = "";
    const LOCKED_IF_FREE: &'static str = "";
    // One writer alone.
    const IN_TURN: &'static str = "";
    const IDS: &'static str = "SELECT value FROM json_each($1)";
    // Nobody else writes between two statements of a transaction.
    const ROW_VERSION: &'static str = "''";

    fn query(&mut self, statement: Statement) -> impl Future<Output = Result<Vec<Row>, JournalError>> + Send {
        ready(self.query_now(&statement.sql, &statement.values).map_err(failed))
    }

    fn query_together(
        &mut self,
        statements: Vec<Statement>,
    ) -> impl Future<Output = Result<Vec<Vec<Row>>, JournalError>> + Send {
        let found = statements.iter().map(|statement| self.query_now(&statement.sql, &statement.values));
        ready(found.collect::<Result<_, _>>().map_err(failed))
    }

    fn execute(&mut self, statements: Vec<Statement>) -> impl Future<Output = Result<u64, JournalError>> + Send {
        let changed = statements.iter().map(|statement| self.execute_now(&statement.sql, &statement.values));
        ready(changed.sum::<Result<u64, _>>().map_err(failed))
    }

    fn rows_of(
        &mut self,
        asked: Vec<RowStatement>,
    ) -> impl Future<Output = Result<Vec<Vec<Row>>, JournalError>> + Send {
        let found = asked.iter().map(|asked| self.query_now(&asked.bulk.one, &asked.values));
        ready(found.collect::<Result<_, _>>().map_err(failed))
    }

    fn write(&mut self, rows: Vec<RowStatement>) -> impl Future<Output = Result<Option<String>, JournalError>> + Send {
        ready(rows.iter().try_for_each(|row| self.write_now(row)).map(|()| None))
    }

    fn script(&mut self, sql: &str) -> impl Future<Output = Result<(), JournalError>> + Send {
        ready(self.0.execute_batch(sql).map_err(failed))
    }
}

impl SqliteStore<'_> {
    fn query_now(&self, sql: &str, values: &[Value]) -> rusqlite::Result<Vec<Row>> {
        let mut prepared = self.bound(sql, values)?;
        let width = prepared.column_count();
        let mut found = prepared.raw_query();
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let columns = (0..width).map(|column| row.get_ref(column).map(value)).collect::<Result<_, _>>()?;
            rows.push(Row::new(columns));
        }
        Ok(rows)
    }

    fn execute_now(&self, sql: &str, values: &[Value]) -> rusqlite::Result<u64> {
        Ok(self.bound(sql, values)?.raw_execute()? as u64)
    }

    fn write_now(&self, row: &RowStatement) -> Result<(), JournalError> {
        match self.execute_now(&row.bulk.one, &row.values).map_err(failed)? {
            0 if row.bulk.is_guarded => Err(JournalError::Corrupt("a row that was just read is not there".into())),
            _ => Ok(()),
        }
    }

    /// `$1` is a name to SQLite, and names are numbered as they first appear; `?1` is the number itself. No literal in our
    /// SQL has either sign in it.
    fn bound(&self, sql: &str, values: &[Value]) -> rusqlite::Result<rusqlite::CachedStatement<'_>> {
        let mut prepared = self.0.prepare_cached(&sql.replace('$', "?"))?;
        for index in 1..=prepared.parameter_count() {
            match values.get(index - 1) {
                Some(Value::Id(id)) => {
                    let mut text = Uuid::encode_buffer();
                    prepared.raw_bind_parameter(index, &*id.hyphenated().encode_lower(&mut text))?;
                }
                Some(value) => prepared.raw_bind_parameter(index, value)?,
                None => return Err(rusqlite::Error::InvalidParameterCount(values.len(), index)),
            }
        }
        Ok(prepared)
    }
}

fn value(column: ValueRef<'_>) -> Value {
    match column {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Whole(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        // No column of ours is real; whoever reads it says that it does not fit.
        ValueRef::Real(_) => Value::Null,
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Value::Flag(flag) => ToSqlOutput::from(*flag),
            Value::Whole(number) => ToSqlOutput::from(*number),
            Value::Text(text) => ToSqlOutput::from(text.as_str()),
            Value::Bytes(bytes) => ToSqlOutput::from(bytes.as_slice()),
            Value::Id(id) => ToSqlOutput::from(id.hyphenated().to_string()),
        })
    }
}

/// What the operator can do about it.
fn remedy(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::DiskFull => Some("the disk of the journal is full: make room"),
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::SystemIoFailure | ErrorCode::PermissionDenied => Some(
            "the journal's file or its folder cannot be written: look at its disk, how it is mounted, and its owner",
        ),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some("another process holds the journal's file"),
        _ => None,
    }
}

/// Only the kind of failure: SQLite's own texts may quote a value.
pub fn failed(error: rusqlite::Error) -> JournalError {
    let Some(sqlite) = error.sqlite_error() else {
        return JournalError::Unavailable("SQLite refused a statement".into());
    };
    let text = sqlite.to_string();
    match sqlite.code {
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => JournalError::Corrupt(format!(
            "{text} (put a backup in place with `punte journal restore`, or name another file)"
        )),
        ErrorCode::ConstraintViolation => JournalError::Corrupt(text),
        code => JournalError::Unavailable(remedy(code).map_or(text.clone(), |remedy| format!("{text} ({remedy})"))),
    }
}
