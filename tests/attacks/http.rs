//! HTTP and JSON that are bent, slow or too much: each gets an answer or an end, and nobody else notices.

mod bodies;
mod floods;
mod frames;
pub mod idle;
mod pseudo_headers;
mod schemathesis;
mod smuggling;
