//! Bytes with their SHA-256.

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Bytes and their SHA-256. Only hashing makes one, so the two always agree, and the bytes are hashed once.
#[derive(Debug, Clone)]
pub struct Hashed {
    bytes: Bytes,
    sha256: [u8; 32],
}

impl Hashed {
    pub fn new(bytes: Bytes) -> Self {
        let sha256 = Sha256::digest(&bytes).into();
        Self { bytes, sha256 }
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

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
