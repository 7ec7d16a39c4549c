//! Attacks of every kind are tried on the front door, on the trust in answers, and on what offices may see.

mod allocations;
mod corpus;
mod signatures;

// The throw-away keys, and the tool that signs what our own signer never would: the suite uses them too.
#[path = "../suite/trust/forgery.rs"]
mod forgery;
#[path = "../suite/trust/pki.rs"]
mod pki;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;
