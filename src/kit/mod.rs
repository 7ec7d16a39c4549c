//! What is not the bus: for people who write adapters and tests. Nothing that carries a submission passes through here.

pub mod signature_check;
pub mod simulator;
pub mod test_stack;

mod dev_agencies;
pub mod dev_pki;

pub use dev_agencies::dev_agencies;
