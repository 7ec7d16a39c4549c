//! Canonical bytes come in piece by piece; their digest goes out.

use crate::xml::Sink;
use aws_lc_rs::digest;

const BLOCK_BYTES: usize = 1024;

/// Hashes canonical bytes as they come, in blocks: most pieces are too small to be worth a call.
pub(super) struct Hash {
    context: digest::Context,
    block: [u8; BLOCK_BYTES],
    filled: usize,
}

impl Hash {
    pub(super) fn new(algorithm: &'static digest::Algorithm) -> Self {
        Self { context: digest::Context::new(algorithm), block: [0; BLOCK_BYTES], filled: 0 }
    }

    pub(super) fn finish(mut self) -> digest::Digest {
        self.flush();
        self.context.finish()
    }

    fn flush(&mut self) {
        self.context.update(&self.block[..self.filled]);
        self.filled = 0;
    }
}

impl Sink for Hash {
    fn put(&mut self, bytes: &[u8]) {
        if bytes.len() > BLOCK_BYTES - self.filled {
            self.flush();
        }
        match self.block[self.filled..].get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.filled += bytes.len();
            }
            None => self.context.update(bytes),
        }
    }
}
