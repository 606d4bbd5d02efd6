//! The digest of a file's content, and what becomes of holes in it.
//!
//! Holes are stored as nothing and hashed as the zeros that a reader sees, so that `sha256sum` of the file gives the same
//! digest. But zeros take as long to hash as other bytes, and a file may be nothing but 8 EiB of them: where the holes of
//! a file are longer than [`MOST_HASHED_HOLES`] together, its digest is that of its data alone, one stretch after the
//! other. Where the data belongs is in the manifest, which is authenticated.

use sha2::{Digest, Sha256};

/// The holes of a file that are hashed, in bytes: more of them are not.
pub const MOST_HASHED_HOLES: u64 = 1 << 30;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

#[derive(Debug, Clone, Default)]
pub struct ContentDigest {
    sha256: Sha256,
    leaves_out_holes: bool,
}

impl ContentDigest {
    /// That of a file of `size` bytes, of which `data_bytes` are not holes.
    #[must_use]
    pub fn of(size: u64, data_bytes: u64) -> Self {
        Self { sha256: Sha256::new(), leaves_out_holes: size.saturating_sub(data_bytes) > MOST_HASHED_HOLES }
    }

    /// Counts data.
    pub fn data(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
    }

    /// Counts a hole; at once, where holes are left out.
    pub fn hole(&mut self, mut bytes: u64) {
        while bytes > 0 && !self.leaves_out_holes {
            let n = bytes.min(ZEROS.len() as u64);
            self.sha256.update(&ZEROS[..n as usize]);
            bytes -= n;
        }
    }

    /// Whether holes count for nothing.
    #[must_use]
    pub fn leaves_out_holes(&self) -> bool {
        self.leaves_out_holes
    }

    /// SHA-256 of all that was counted.
    #[must_use]
    pub fn finish(&self) -> [u8; 32] {
        self.sha256.clone().finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(size: u64, data: &[u8]) -> [u8; 32] {
        let mut digest = ContentDigest::of(size, data.len() as u64);
        digest.data(data);
        digest.hole(size - data.len() as u64);
        digest.finish()
    }

    #[test]
    fn short_holes_are_zeros_and_long_ones_are_left_out() {
        let zeros = [b"abc".to_vec(), vec![0; 200_000]].concat();
        assert_eq!(digest(200_003, b"abc"), <[u8; 32]>::from(Sha256::digest(&zeros)));
        let data_alone: [u8; 32] = Sha256::digest(b"abc").into();
        assert_eq!(digest(MOST_HASHED_HOLES + 4, b"abc"), data_alone);
        assert_eq!(digest(u64::MAX, b"abc"), data_alone, "and at once");
        assert!(!ContentDigest::of(MOST_HASHED_HOLES + 3, 3).leaves_out_holes());
    }
}
