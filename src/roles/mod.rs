//! The long-running processes, and what they are put together from.

pub mod scheduler;
pub mod worker;

mod installation;
mod stores;

pub use installation::Installation;
pub use stores::{OpenError, open_broker, open_journal};
