//! The long-running processes: each takes its parts and a token that stops it.

pub mod courier;
pub mod gateway;
pub mod operations;
pub mod scheduler;
pub mod simulator;
pub mod worker;

pub mod dispatch;
mod listener;

mod foreseen;
mod installation;
mod keeper;
mod process;
mod shared;
pub mod stage;
mod stores;
mod take_over;

pub use installation::Installation;
pub use process::{DRAIN, Process, Role, StartError, Stopped};
pub use stores::{OpenError, open_broker, open_journal, rabbitmq_settings, visit_incomplete, visit_journal};
