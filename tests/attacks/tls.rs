//! TLS in both directions: whoever shows bad papers, or speaks an old or another protocol, is shown no payload.

mod agency;
mod door;
mod graded;
pub mod papers;
mod receiver;
mod stranger;
