//! WS-Security 1.0 with the X.509 token profile: a SOAP envelope comes in; a signed one, or the verified Body, goes out.

mod hash;
pub(super) mod names;
mod prepare;
mod reference;
mod refusal;
mod shape;
mod sign;
mod str_transform;
mod token;
mod verify;

pub use prepare::{Prepared, WssError, prepare};
pub use refusal::WssRefusal;
pub use sign::sign;
pub use verify::{VerifiedEnvelope, verify, verify_but_for_replay};
