//! One value on its way to and from PostgreSQL's binary form.

use crate::journal::store::{Row, Statement, Value};
use bytes::BytesMut;
use std::error::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};

type Parameter<'a> = &'a (dyn ToSql + Sync);

pub fn row(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    (0..row.len()).map(|column| row.try_get(column)).collect::<Result<_, _>>().map(Row::new)
}

pub fn parameters(statement: &Statement) -> Vec<Parameter<'_>> {
    statement.values.iter().map(|value| value as Parameter<'_>).collect()
}

/// The same for a statement that was not prepared: each with its type.
pub fn typed_parameters(statement: &Statement) -> Vec<(Parameter<'_>, Type)> {
    statement.values.iter().map(|value| (value as Parameter<'_>, type_of(value))).collect()
}

/// Text may be meant for a column of text or of JSON, and nothing for any: the server finds out by itself.
fn type_of(value: &Value) -> Type {
    match value {
        Value::Null | Value::Text(_) => Type::UNKNOWN,
        Value::Flag(_) => Type::BOOL,
        Value::Whole(_) => Type::INT8,
        Value::Bytes(_) => Type::BYTEA,
        Value::Id(_) => Type::UUID,
    }
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
