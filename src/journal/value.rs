//! One value of a column: our own types come in, what both databases can keep goes out.

use crate::domain::{AttachmentId, SubmissionId};
use jiff::Timestamp;
use uuid::Uuid;

/// One value of a column, as both databases know it. Times are whole microseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Flag(bool),
    Whole(i64),
    /// Text, and JSON as text.
    Text(String),
    Bytes(Vec<u8>),
    Id(Uuid),
}

/// PostgreSQL cannot hold U+0000 in text; other systems' codes may bring it. (In JSON it is escaped, and stays.)
pub fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// A list of anything that is a [`Value`].
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::journal::value::Value::from($value)),*] };
}
pub(crate) use values;

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Flag(flag)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Value::Whole(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Value::Whole(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Whole(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Value::Whole(time.as_microsecond())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(storable(text))
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Value::Bytes(bytes)
    }
}

impl From<Uuid> for Value {
    fn from(id: Uuid) -> Self {
        Value::Id(id)
    }
}

impl From<SubmissionId> for Value {
    fn from(id: SubmissionId) -> Self {
        Value::Id(id.as_uuid())
    }
}

impl From<AttachmentId> for Value {
    fn from(id: AttachmentId) -> Self {
        Value::Id(id.as_uuid())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}
