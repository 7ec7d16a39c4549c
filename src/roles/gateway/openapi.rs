//! The API's own document: OpenAPI 3.1, written by hand, served as it is, and the source of the envelope's schema.

use super::{Call, GatewayState, Reply};
use crate::catalogue::Schema;
use axum::body::Body;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

pub const DOCUMENT: &str = include_str!("../../../schemas/openapi.json");

pub async fn show(_: Arc<GatewayState>, _: Call) -> Reply {
    let mut response = Response::new(Body::from(DOCUMENT));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
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
