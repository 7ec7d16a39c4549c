//! The long-running processes: each takes its parts and a token that stops it, and gives back a handle.

pub mod courier;
pub mod gateway;
mod listener;
pub mod operations;
pub mod simulator;
