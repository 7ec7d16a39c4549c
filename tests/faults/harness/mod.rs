//! A house of real processes over one configuration, offices and agencies that keep ledgers outside of it, and a checker
//! that joins the ledgers with the journal.

pub mod agency;
pub mod checker;
mod checker_tests;
pub mod clients;
pub mod figures;
pub mod furniture;
pub mod house;
pub mod outside;
pub mod process;
pub mod receiver;
pub mod replay;

pub use crate::town::{over_rabbitmq, variable};
pub use house::{ALL, House};

/// How long anything may take on a busy machine before it counts as never.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// As several processes need it.
pub fn shared(plan: &mut punte::roles::stage::StagePlan) {
    over_rabbitmq(plan);
    crate::town::in_postgres(plan);
}
