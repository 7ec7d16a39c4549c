//! A part of a process, and how it is.

use futures_util::future::BoxFuture;

/// How one part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartState {
    Up,
    /// The process works, but not as it should. It stays ready.
    Degraded(String),
    /// The process cannot do its work.
    Down(String),
}

/// Asks a part how it is.
pub type Part = Box<dyn Fn() -> BoxFuture<'static, PartState> + Send + Sync>;
