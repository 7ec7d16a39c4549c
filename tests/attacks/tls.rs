//! TLS in both directions: whoever shows bad certificates, or speaks an old or another protocol, is shown no payload.

mod agency;
mod door;
mod graded;
pub mod certificates;
mod receiver;
mod stranger;
