//! The API's own document: OpenAPI 3.1, written by hand, served as it is, and the source of the envelope's schema.

use crate::catalogue::Schema;
use axum::response::IntoResponse;
use http::header;
use serde_json::{Value, json};
use std::sync::LazyLock;

pub const DOCUMENT: &str = include_str!("../../../schemas/openapi.json");

pub async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

/// The schema of the body of `POST /v1/submissions`, apart from `data`.
pub fn new_submission() -> Result<&'static Schema, &'static String> {
    static SCHEMA: LazyLock<Result<Schema, String>> = LazyLock::new(|| component("NewSubmission"));
    SCHEMA.as_ref()
}

/// One schema of the document, with all that it refers to.
pub fn component(name: &str) -> Result<Schema, String> {
    let document: Value = serde_json::from_str(DOCUMENT).map_err(|error| error.to_string())?;
    let reference = format!("#/components/schemas/{name}");
    Schema::compile(json!({"$ref": reference, "components": document["components"]}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelopes_schema_compiles() {
        assert!(new_submission().is_ok());
    }
}
