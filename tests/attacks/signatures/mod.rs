//! Forged and mangled messages: none may be accepted with a meaning that nobody signed, and none may cost much.

mod by_hand;
mod canonical;
mod documents;
pub mod mangle;
mod mutants;
mod pieces;
mod subjects;
mod table;
mod weak_keys;

use crate::pki::now;
use punte::{
    trust::{
        Algorithm, AnswerPolicy, ReplayCache, WssProfile,
        wss::{self, VerifiedEnvelope, WssRefusal},
    },
    xml,
};

fn profile(algorithm: Algorithm) -> WssProfile {
    WssProfile {
        algorithm,
        ttl: jiff::SignedDuration::from_secs(300),
        sign_headers: Vec::new(),
        must_understand: true,
        sign_token: false,
    }
}

fn verify(text: &str, policy: &AnswerPolicy) -> Result<VerifiedEnvelope, WssRefusal> {
    wss::verify(&xml::parse(text)?, policy, now(), &ReplayCache::default())
}
