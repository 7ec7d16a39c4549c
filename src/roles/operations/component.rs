//! A component of a process, and how it is.

use futures_util::future::BoxFuture;

/// How one component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComponentHealth {
    Up,
    /// The process works, but not as it should. It stays ready.
    Degraded(String),
    /// The process cannot do its work.
    Down(String),
}

/// Asks a component how it is.
pub type Component = Box<dyn Fn() -> BoxFuture<'static, ComponentHealth> + Send + Sync>;
