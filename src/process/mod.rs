//! The composition root: the configuration comes in, the stores are opened, and the roles run until they are told to stop.

mod role;
mod start_error;
mod installation;
mod preflight;
mod listeners;
mod stores;
mod restore_guard;
mod take_over;
mod parts;
mod operations;
mod lifecycle;

pub use installation::Installation;
pub use lifecycle::{Process, Stopped};
pub use role::{DRAIN, Role};
pub use start_error::StartError;
pub use stores::{open_broker, open_journal_for_command, open_journal_without_log, rabbitmq_settings};
