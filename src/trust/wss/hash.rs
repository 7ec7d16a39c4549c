//! Canonical bytes come in piece by piece; their digest goes out.

use crate::xml::Sink;
use aws_lc_rs::digest;

/// Hashes canonical bytes as they come, in blocks.
pub(super) struct Hash {
    context: digest::Context,
    block: Vec<u8>,
}

impl Hash {
    pub(super) fn new(algorithm: &'static digest::Algorithm) -> Self {
        Self { context: digest::Context::new(algorithm), block: Vec::with_capacity(8192) }
    }

    pub(super) fn finish(mut self) -> digest::Digest {
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
