//! What is wrong with a value that came from outside, and where.

/// One thing that does not fit. The problem never quotes the value: it may be somebody's personal number.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SchemaFault {
    /// JSON Pointer (RFC 6901) to the place in the value.
    pub pointer: String,
    pub problem: String,
}
