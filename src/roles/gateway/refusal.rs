//! What the journal or the router refuses comes in; the problem that the office is told goes out.

use crate::{domain::Code, http_server::Problem, journal::JournalError};
use axum::extract::rejection::QueryRejection;

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        let code = match &error {
            JournalError::Unavailable(_) | JournalError::Suspended(_) => Code::JournalUnavailable,
            JournalError::NotFound(_) => Code::RequestNotFound,
            JournalError::Corrupt(_)
            | JournalError::NotTaken(_)
            | JournalError::Incomplete(_)
            | JournalError::Forbidden(_) => Code::Internal,
        };
        // The restore guard logs why the journal is suspended.
        if code != Code::RequestNotFound && !matches!(error, JournalError::Suspended(_)) {
            tracing::error!(%error, "the journal failed a request");
        }
        code.into()
    }
}

/// axum's own words for it are not shown.
impl From<QueryRejection> for Problem {
    fn from(_: QueryRejection) -> Self {
        Problem::at(Code::RequestParameter, "?", "the query cannot be read as name=value pairs")
    }
}
