//! Faults of every kind are done to real processes; ledgers outside of them say what became of each submission.

mod harness;
#[path = "../suite/town.rs"]
mod town;

mod infra;
mod kills;
mod points;
