//! Holes of sparse files: stored as nothing, hashed as the zeros that a reader sees.

use sha2::{Digest, Sha256};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Feeds `bytes` zeros to a digest.
pub fn hash_hole(digest: &mut Sha256, mut bytes: u64) {
    while bytes > 0 {
        let n = bytes.min(ZEROS.len() as u64);
        digest.update(&ZEROS[..n as usize]);
        bytes -= n;
    }
}
