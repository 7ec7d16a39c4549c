//! The worker.
mod breaker;
pub use breaker::{Breaker, Circuit, Sign};
