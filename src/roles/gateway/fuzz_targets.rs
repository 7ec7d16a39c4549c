//! The readers of outside words that are private otherwise, for the fuzz targets alone.

pub use super::{
    headers::{content_sha256, file_name, idempotency_key, media_type, preferred_wait},
    submissions::{cursor, filter_of, submission_of},
};

use super::{openapi, submission_request::SubmissionRequest};
use crate::{
    journal::{JournalError, postgres},
    json::{self, Rules},
};

/// What a request's body asks for, if it is a request at all.
pub fn request_sha256(body: &[u8]) -> Option<[u8; 32]> {
    let value = json::parse(body, Rules::OFFICE).ok()?;
    let envelope = openapi::new_submission().ok()?;
    let request: SubmissionRequest =
        envelope.faults(&value).is_empty().then(|| serde_json::from_value(value).ok())??;
    Some(request.sha256())
}

pub fn postgres_url(url: &str) -> Result<(), JournalError> {
    let server = postgres::Server { url, passfile: None, files: postgres::Files::default() };
    match server.check(false) {
        Err(postgres::ServerFault::Url(error)) => Err(error),
        _ => Ok(()),
    }
}
