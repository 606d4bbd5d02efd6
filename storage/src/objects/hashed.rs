//! Bytes that go with their SHA-256.

use bytes::Bytes;
use sha2::{Digest, Sha256};

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

impl std::ops::Deref for Hashed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}
