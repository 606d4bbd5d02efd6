//! Bytes that go with their SHA-256.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::buffers::Buffer;

/// Bytes and their SHA-256. Only hashing makes one, so the two belong together and nobody needs to hash them again.
#[derive(Debug, Clone)]
pub struct Hashed {
    bytes: Bytes,
    sha256: [u8; 32],
}

impl Hashed {
    /// Hashes `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        let sha256 = Sha256::digest(&bytes).into();
        Self { bytes, sha256 }
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Their SHA-256.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

/// Bytes that are hashed as they grow: many short pauses instead of a long one at the end, for which others would wait.
#[derive(Debug)]
pub(crate) struct Hashing {
    bytes: Buffer,
    digest: Sha256,
}

impl Hashing {
    /// Begins with nothing, in the memory of a buffer.
    pub(crate) fn new(mut bytes: Buffer) -> Self {
        bytes.clear();
        Self { bytes, digest: Sha256::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn reserve_exact(&mut self, more: usize) {
        self.bytes.reserve_exact(more);
    }

    /// Adds what `append` adds, which must leave alone what is there.
    pub(crate) fn append(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        append(&mut self.bytes);
        self.digest.update(&self.bytes[start..]);
    }

    pub(crate) fn finish(self) -> Hashed {
        Hashed { bytes: Bytes::from_owner(self.bytes), sha256: self.digest.finalize().into() }
    }
}

impl std::ops::Deref for Hashed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}
