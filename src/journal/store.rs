//! What both databases can do: statements with their values come in, rows or a count of changed rows go out.

pub(crate) use super::value::values;
pub use super::value::{Value, storable};
use super::{JournalError, LastKnown, bulk::RowStatement};
use crate::domain::{OfficeName, SubmissionId};
use jiff::Timestamp;
use std::borrow::Cow;
use uuid::Uuid;

/// SQL with its values for `$1`, `$2`, …
#[derive(Debug, Clone)]
pub struct Statement {
    pub sql: Cow<'static, str>,
    pub values: Vec<Value>,
}

/// An open connection, within a transaction if the work writes.
pub trait Store: Send {
    /// At the end of a SELECT: what it finds stays as it is until the transaction ends.
    const LOCKED: &'static str;
    /// The same, without waiting for rows that another transaction holds: those are left out.
    const LOCKED_IF_FREE: &'static str;
    /// A script after which no other transaction that runs it goes on before this one has ended.
    const IN_TURN: &'static str;
    /// A subquery that turns `$1`, a JSON array of identifiers, into rows.
    const IDS: &'static str;
    /// A column of every table: text by which a row is known again that somebody else has changed since it was read.
    const ROW_VERSION: &'static str;

    fn query(&mut self, statement: Statement) -> impl Future<Output = Result<Vec<Row>, JournalError>> + Send;
    /// The rows of each, where none needs another's answer: they are asked at once.
    fn query_together(
        &mut self,
        statements: Vec<Statement>,
    ) -> impl Future<Output = Result<Vec<Vec<Row>>, JournalError>> + Send;
    /// Executes all, in their order; the sum of changed rows.
    fn execute(&mut self, statements: Vec<Statement>) -> impl Future<Output = Result<u64, JournalError>> + Send;
    /// What each finds for the row with these values.
    fn rows_of(&mut self, asked: Vec<RowStatement>)
    -> impl Future<Output = Result<Vec<Vec<Row>>, JournalError>> + Send;
    /// Writes all of them, or fails. A guarded row that was changed since it was read makes it fail, and the whole operation is
    /// done anew. The version that the written rows have now, if one of the statements tells it.
    ///
    /// An operation that may share a transaction asks nothing after that: it may be committed.
    fn write(&mut self, rows: Vec<RowStatement>) -> impl Future<Output = Result<Option<String>, JournalError>> + Send;
    /// What this process knows of a submission without reading it, once. It may have changed since: only a guarded row that is
    /// written shows that it has not.
    fn recall(&mut self, _: SubmissionId) -> Option<LastKnown> {
        None
    }
    /// An operation has an Idempotency-Key. Whether it may be written without a look, with all that depends on it: if it has come
    /// before, that is refused, and the operation is done anew by a store that says no.
    fn meet_key(&mut self, _: &OfficeName, _: &str) -> bool {
        false
    }
    /// Whether it is true will be seen when it is used: the transaction may yet be rolled back.
    fn remember(&mut self, _: LastKnown) {}
    /// Executes a script of several statements without values.
    fn script(&mut self, sql: &str) -> impl Future<Output = Result<(), JournalError>> + Send;
}

/// A row, read column by column in the order of its SELECT. What does not fit is `Corrupt`, named by its place alone:
/// no error shows what a column holds.
pub struct Row {
    columns: std::vec::IntoIter<Value>,
    position: usize,
}

pub fn statement(sql: impl Into<Cow<'static, str>>, values: Vec<Value>) -> Statement {
    Statement { sql: sql.into(), values }
}

impl Row {
    pub fn new(columns: Vec<Value>) -> Self {
        Self { columns: columns.into_iter(), position: 0 }
    }

    /// What is read next.
    pub fn first(&self) -> Option<&Value> {
        self.columns.as_slice().first()
    }

    /// What is read after that, if it is text.
    pub fn second_text(&self) -> Option<String> {
        match self.columns.as_slice().get(1) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    fn next(&mut self) -> Result<Value, JournalError> {
        self.position += 1;
        self.columns.next().ok_or_else(|| self.unreadable("there"))
    }

    pub fn unreadable(&self, what: &str) -> JournalError {
        JournalError::Corrupt(format!("column {} is not {what}", self.position))
    }

    pub fn optional_text(&mut self) -> Result<Option<String>, JournalError> {
        match self.next()? {
            Value::Text(text) => Ok(Some(text)),
            Value::Null => Ok(None),
            _ => Err(self.unreadable("text")),
        }
    }

    pub fn text(&mut self) -> Result<String, JournalError> {
        self.optional_text()?.ok_or_else(|| self.unreadable("text"))
    }

    pub fn optional_whole(&mut self) -> Result<Option<i64>, JournalError> {
        match self.next()? {
            Value::Whole(number) => Ok(Some(number)),
            Value::Null => Ok(None),
            _ => Err(self.unreadable("a whole number")),
        }
    }

    /// A whole number that fits `N`.
    pub fn whole<N: TryFrom<i64>>(&mut self) -> Result<N, JournalError> {
        let number = self.optional_whole()?.and_then(|number| N::try_from(number).ok());
        number.ok_or_else(|| self.unreadable("a whole number that fits"))
    }

    pub fn optional_time(&mut self) -> Result<Option<Timestamp>, JournalError> {
        let microseconds = self.optional_whole()?;
        microseconds.map(Timestamp::from_microsecond).transpose().map_err(|_| self.unreadable("a time"))
    }

    pub fn time(&mut self) -> Result<Timestamp, JournalError> {
        self.optional_time()?.ok_or_else(|| self.unreadable("a time"))
    }

    pub fn flag(&mut self) -> Result<bool, JournalError> {
        match self.next()? {
            Value::Flag(flag) => Ok(flag),
            Value::Whole(number) => Ok(number != 0),
            _ => Err(self.unreadable("a flag")),
        }
    }

    pub fn optional_bytes(&mut self) -> Result<Option<Vec<u8>>, JournalError> {
        match self.next()? {
            Value::Bytes(bytes) => Ok(Some(bytes)),
            Value::Null => Ok(None),
            _ => Err(self.unreadable("bytes")),
        }
    }

    pub fn id<I: From<Uuid>>(&mut self) -> Result<I, JournalError> {
        let id = match self.next()? {
            Value::Id(id) => Some(id),
            Value::Text(text) => Uuid::try_parse(&text).ok(),
            _ => None,
        };
        id.map(I::from).ok_or_else(|| self.unreadable("an identifier"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_no_select_has_asked_for_is_not_taken_for_an_empty_one() {
        let mut row = Row::new(vec![Value::Null]);
        assert_eq!(row.optional_whole().unwrap(), None);
        assert!(matches!(row.optional_whole(), Err(JournalError::Corrupt(text)) if text == "column 2 is not there"));
    }
}
