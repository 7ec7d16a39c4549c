//! The way of one submission.
mod settle;
pub use settle::{Case, settle};
