//! What is wrong with the URL of PostgreSQL; no part of it is named, because it may hold a password.

use crate::journal::JournalError;

pub fn unusable(remedy: &str) -> JournalError {
    JournalError::Unavailable(format!("the URL of PostgreSQL cannot be used: {remedy}"))
}
