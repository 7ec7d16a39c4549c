//! The long-running processes.
pub mod worker;
