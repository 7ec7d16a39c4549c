//! WS-Security 1.0 with the X.509 token profile: a SOAP envelope comes in; a signed one, or the verified Body, goes out.

mod named;
mod names;
mod refusal;
mod shape;
mod sign;
mod str_transform;
mod token;
mod verify;

pub use named::Named;
pub use refusal::WssRefusal;
pub use sign::{WssError, sign};
pub use verify::{VerifiedEnvelope, verify, verify_but_for_replay};

use crate::xml::Sink;
use aws_lc_rs::digest;

/// Hashes canonical bytes as they come, in blocks.
struct Hash {
    context: digest::Context,
    block: Vec<u8>,
}

impl Hash {
    fn new(algorithm: &'static digest::Algorithm) -> Self {
        Self { context: digest::Context::new(algorithm), block: Vec::with_capacity(8192) }
    }

    fn finish(mut self) -> digest::Digest {
        self.context.update(&self.block);
        self.context.finish()
    }
}

impl Sink for Hash {
    fn put(&mut self, bytes: &[u8]) {
        if self.block.len() + bytes.len() > 8192 {
            self.context.update(&self.block);
            self.block.clear();
        }
        match bytes.len() > 8192 {
            true => self.context.update(bytes),
            false => self.block.extend_from_slice(bytes),
        }
    }
}
