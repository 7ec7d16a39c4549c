//! Faults of every kind are done to real processes; ledgers outside of them say what became of each submission.

mod harness;
// The suite's own; not every word of it is used here.
#[allow(dead_code)]
#[path = "../suite/environment.rs"]
mod environment;

mod agencies;
mod infra;
mod interruptions;
mod kills;
mod long;
mod model;
mod points;
mod records;
mod restores;
mod upgrade;
mod zombies;
