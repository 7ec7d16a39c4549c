//! The long-running processes: each takes its parts and a token that stops it.

pub mod simulator;
