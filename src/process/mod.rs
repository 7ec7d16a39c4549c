//! The composition root: the configuration comes in, the stores are opened, and the roles run until they are told to stop.

mod role;
mod installation;
mod foreseen;
mod listeners;
mod stores;
mod keeper;
mod take_over;
mod parts;
mod lifecycle;

pub use installation::Installation;
pub use lifecycle::{DRAIN, Process, StartError, Stopped};
pub use role::Role;
pub use stores::{OpenError, open_broker, open_journal, rabbitmq_settings, visit_incomplete, visit_journal};
