//! Attacks of every kind are tried on the front door, on the trust in answers, and on what offices may see.

mod front;
mod http;
mod privacy;
mod program;
mod rights;
mod security_page;
mod tls;
// Written for the other program; each uses a part of it.
#[allow(dead_code)]
#[path = "../suite/town.rs"]
mod town;
