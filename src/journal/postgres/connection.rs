//! One connection or transaction: statements come in, rows go out, and the server's errors lose what they tell of a row.

use crate::journal::{
    JournalError,
    store::{Row, Statement, Store, Value},
};
use bytes::BytesMut;
use deadpool_postgres::GenericClient;
use futures_util::future::try_join_all;
use std::error::Error;
use tokio_postgres::{
    error::SqlState,
    types::{FromSql, IsNull, ToSql, Type},
};

/// Statements that travel together, without waiting for each other's answers.
const PIPELINE_STATEMENTS: usize = 16;

pub struct PostgresStore<'a, C> {
    client: &'a C,
    /// Whether what failed last may be repeated, in a new transaction, on a new connection.
    pub may_repeat: bool,
}

impl<'a, C: GenericClient> PostgresStore<'a, C> {
    pub fn new(client: &'a C) -> Self {
        Self { client, may_repeat: false }
    }

    fn noted(&mut self, error: tokio_postgres::Error) -> JournalError {
        self.may_repeat = is_safe_to_repeat(&error, false);
        failed(error)
    }

    async fn query_now(&self, statement: &Statement) -> Result<Vec<Row>, tokio_postgres::Error> {
        let prepared = self.client.prepare_cached(&statement.sql).await?;
        let found = self.client.query(&prepared, &parameters(statement)).await?;
        found.iter().map(row).collect()
    }

    async fn execute_now(&self, statements: &[Statement]) -> Result<u64, tokio_postgres::Error> {
        let mut prepared = Vec::with_capacity(statements.len());
        for statement in statements {
            prepared.push((self.client.prepare_cached(&statement.sql).await?, parameters(statement)));
        }
        let changed = prepared.iter().map(|(prepared, parameters)| self.client.execute(prepared, parameters));
        Ok(try_join_all(changed).await?.into_iter().sum())
    }
}

impl<C: GenericClient> Store for PostgresStore<'_, C> {
    const LOCKED: &'static str = " FOR UPDATE";
    const LOCKED_IF_FREE: &'static str = " FOR UPDATE SKIP LOCKED";
    const IDS: &'static str = "SELECT listed::uuid FROM json_array_elements_text($1) AS list (listed)";

    async fn query(&mut self, statement: Statement) -> Result<Vec<Row>, JournalError> {
        self.query_now(&statement).await.map_err(|error| self.noted(error))
    }

    async fn execute(&mut self, statements: Vec<Statement>) -> Result<u64, JournalError> {
        let mut changed = 0;
        for together in statements.chunks(PIPELINE_STATEMENTS) {
            changed += self.execute_now(together).await.map_err(|error| self.noted(error))?;
        }
        Ok(changed)
    }

    async fn script(&mut self, sql: &str) -> Result<(), JournalError> {
        self.client.batch_execute(sql).await.map_err(|error| self.noted(error))
    }
}

fn row(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    (0..row.len()).map(|column| row.try_get(column)).collect::<Result<_, _>>().map(Row::new)
}

fn parameters(statement: &Statement) -> Vec<&(dyn ToSql + Sync)> {
    statement.values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// Whether the transaction was certainly rolled back and another one may succeed at once.
pub fn is_safe_to_repeat(error: &tokio_postgres::Error, is_committing: bool) -> bool {
    match error.code() {
        Some(code) => [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
        ]
        .contains(code),
        // The connection broke. While committing, nobody knows on which side of the commit.
        None => !is_committing,
    }
}

/// Never what the server says of data and constraints: there its texts quote values.
pub fn failed(error: tokio_postgres::Error) -> JournalError {
    let Some(server) = error.as_db_error() else {
        return JournalError::Unavailable(format!("the connection to PostgreSQL failed: {}", cause(&error)));
    };
    let code = server.code().code();
    match server.constraint() {
        Some(constraint) => JournalError::Corrupt(format!("SQLSTATE {code}, constraint {constraint}")),
        None if speaks_of_no_data(code) => JournalError::Unavailable(format!("SQLSTATE {code}: {}", server.message())),
        None => JournalError::Unavailable(format!("SQLSTATE {code}")),
    }
}

/// Classes of codes (PostgreSQL, appendix A) whose texts name users, tables and limits: connections, authorisation,
/// catalogues, names and rights, resources, locks, the operator's interventions, the system's failures.
fn speaks_of_no_data(code: &str) -> bool {
    ["08", "28", "3D", "3F", "42", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class))
}

/// The network's or TLS's own words at the end of the chain of causes.
fn cause(error: &tokio_postgres::Error) -> String {
    let mut network = None;
    let mut next: Option<&dyn Error> = error.source();
    while let Some(cause) = next {
        network = cause.downcast_ref::<std::io::Error>().or(network);
        next = cause.source();
    }
    network.map_or_else(|| "it was closed or cannot be made".into(), ToString::to_string)
}

impl ToSql for Value {
    fn to_sql(&self, column: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Flag(flag) => flag.to_sql_checked(column, out),
            Value::Whole(number) => number.to_sql_checked(column, out),
            // JSON travels as its text.
            Value::Text(text) if *column == Type::JSON => text.to_sql(column, out),
            Value::Text(text) => text.to_sql_checked(column, out),
            Value::Bytes(bytes) => bytes.to_sql_checked(column, out),
            Value::Id(id) if *column == Type::UUID => {
                out.extend_from_slice(id.as_bytes());
                Ok(IsNull::No)
            }
            Value::Id(_) => Err("an identifier for a column of another type".into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, column: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(column, out)
    }
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(column: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *column {
            Type::BOOL => Value::Flag(FromSql::from_sql(column, raw)?),
            Type::INT4 => Value::Whole(i32::from_sql(column, raw)?.into()),
            Type::INT8 => Value::Whole(FromSql::from_sql(column, raw)?),
            Type::TEXT | Type::JSON => Value::Text(std::str::from_utf8(raw)?.to_owned()),
            Type::BYTEA => Value::Bytes(raw.to_vec()),
            Type::UUID => Value::Id(uuid::Uuid::from_slice(raw)?),
            _ => return Err("a column of a type that the journal does not use".into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Value::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
