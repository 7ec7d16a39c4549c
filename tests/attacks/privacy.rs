//! Canary numbers, names and secrets go through everything; none turns up where it does not belong.

mod broker;
mod canaries;
mod everywhere;
