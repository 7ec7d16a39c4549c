//! What a process may do, and how long it has to end.

use std::time::Duration;

/// How long requests under way have to end once the process is told to stop.
pub const DRAIN: Duration = Duration::from_secs(30);

/// What a process does. All of it by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Takes offices' requests
    Gateway,
    /// Delivers to agencies
    Worker,
    /// Keeps times: outbox, retries, deadlines, repairs, retention
    Scheduler,
    /// Tells offices by webhook
    Notifier,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Gateway, Role::Worker, Role::Scheduler, Role::Notifier];
}
