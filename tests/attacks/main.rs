//! Attacks of every kind are tried on the front door, on the trust in answers, and on what offices may see.

mod allocations;
mod corpus;
mod readers;
mod signatures;

// The fuzz targets, which are programs of their own too.
#[path = "../fuzz/targets.rs"]
mod targets;
// The throw-away keys, and the tool that signs what our own signer never would: the suite uses them too.
#[path = "../suite/trust/forgery.rs"]
mod forgery;
#[path = "../suite/trust/pki.rs"]
mod pki;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;
mod front;
mod http;
mod privacy;
mod program;
mod rights;
mod security_page;
mod tls;
// Written for the other program; each uses a part of it.
#[allow(dead_code)]
#[path = "../suite/environment.rs"]
mod environment;
