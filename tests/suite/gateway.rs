//! The front door over real sockets and real TLS: whole gateways on SQLite and the embedded broker. Every answer that any
//! of these tests gets is held against the API's document.

mod attachments;
mod attacks;
pub mod bad_requests;
mod notifier;
mod document;
mod following;
mod operations;
mod raw;
mod recognition;
mod slowness;
mod submitting;
pub mod environment;
