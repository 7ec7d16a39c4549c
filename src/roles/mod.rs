//! The long-running roles: each takes its parts and a token that stops it.

pub mod notifier;
pub mod gateway;
pub mod operations;
pub mod scheduler;
pub mod worker;

pub mod dispatch;

mod supervise;
