//! A cluster of real processes over one configuration, offices and agencies that keep ledgers outside of it, and a checker
//! that joins the ledgers with the journal.

pub mod agency;
pub mod checker;
mod checker_tests;
pub mod clients;
pub mod figures;
pub mod fixtures;
pub mod process_cluster;
pub mod outside;
pub mod process;
pub mod receiver;
pub mod replay;

pub use crate::environment::{over_rabbitmq, variable};
pub use process_cluster::{ALL, ProcessCluster};
use rand::{SeedableRng, rngs::StdRng};

/// How long anything may take on a busy machine before it counts as never.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// `PUNTE_SOAK_SEED` repeats a test's choices.
pub fn chance() -> StdRng {
    let given = std::env::var("PUNTE_SOAK_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("PUNTE_SOAK_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// `PUNTE_FAULTS_LONG=1` asks for faults of their full length.
pub fn is_long() -> bool {
    std::env::var("PUNTE_FAULTS_LONG").is_ok_and(|text| text == "1")
}

/// As several processes need it.
pub fn shared(plan: &mut punte::kit::test_stack::TestStackPlan) {
    over_rabbitmq(plan);
    crate::environment::in_postgres(plan);
}
