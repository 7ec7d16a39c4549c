//! Canary numbers, names and secrets go through everything; none turns up where it does not belong.

mod broker;
mod canaries;
mod everywhere;
// Built in with the feature alone, crash points can panic as well.
#[cfg(feature = "failpoints")]
mod panics;
