//! Faults of every kind are done to real processes; ledgers outside of them say what became of each submission.

#[allow(dead_code)]
#[path = "../suite/house.rs"]
mod house;
mod infra;
#[allow(dead_code)]
#[path = "../suite/town.rs"]
mod town;
