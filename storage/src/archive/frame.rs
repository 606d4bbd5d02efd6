//! Frames: one gzip member each, so that any frame can be opened without the others.

use libdeflater::{CompressionLvl, Compressor, Decompressor};
use serde::{Deserialize, Serialize};

/// The most tar bytes that a frame holds.
pub const FRAME_BYTES: usize = 1 << 20;

/// The most bytes that a sealed frame takes: a gzip member of incompressible data grows by a few bytes for
/// each stored block, and a hostile length field must not make us allocate more.
pub const MAX_SEALED_BYTES: usize = FRAME_BYTES + (64 << 10);

/// How hard to compress. Every choice gives the same format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Least time.
    #[default]
    Fast,
    /// Smaller, at about half the speed.
    Balanced,
    /// Smallest that gzip can do, at a tenth of the speed.
    Best,
}

impl Compression {
    fn level(self) -> i32 {
        match self {
            Self::Fast => 1,
            Self::Balanced => 6,
            Self::Best => 12,
        }
    }
}

/// Makes gzip members. One for each thread, since its tables are reused.
pub struct FrameCompressor {
    coder: Compressor,
    store: Compressor,
    probe: Vec<u8>,
}

impl FrameCompressor {
    /// A compressor of that strength.
    pub fn new(compression: Compression) -> Self {
        let coder =
            |level| Compressor::new(CompressionLvl::new(level).expect("libdeflate has levels 0 to 12"));
        Self { coder: coder(compression.level()), store: coder(0), probe: Vec::new() }
    }

    /// One gzip member of at most [`FRAME_BYTES`].
    pub fn compress(&mut self, tar: &[u8]) -> Vec<u8> {
        let coder = if self.is_worth_it(tar) { &mut self.coder } else { &mut self.store };
        let mut gzip = vec![0; coder.gzip_compress_bound(tar.len())];
        let bytes = coder.gzip_compress(tar, &mut gzip).expect("the buffer has the coder's own bound");
        gzip.truncate(bytes);
        gzip
    }

    /// Whether compression gains 3 % on three samples of 4 KiB; below that the frame is stored, which costs no time.
    fn is_worth_it(&mut self, tar: &[u8]) -> bool {
        const SAMPLE: usize = 4 << 10;
        if tar.len() <= 16 * SAMPLE {
            return true;
        }
        self.probe.resize(self.coder.gzip_compress_bound(SAMPLE), 0);
        let starts = [tar.len() / 8, tar.len() / 2, tar.len() - tar.len() / 8 - SAMPLE];
        starts.into_iter().any(|start| {
            let packed = self.coder.gzip_compress(&tar[start..start + SAMPLE], &mut self.probe);
            packed.is_ok_and(|bytes| bytes < SAMPLE - SAMPLE / 32)
        })
    }
}

impl std::fmt::Debug for FrameCompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameCompressor(..)")
    }
}

/// The tar bytes of a gzip member, or what is wrong with it. Never allocates more than `most` bytes, whatever
/// the member claims.
pub fn inflate(gzip: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let claimed = gzip
        .last_chunk::<4>()
        .map(|size| u32::from_le_bytes(*size) as usize)
        .ok_or_else(|| "a gzip member is cut short".to_owned())?;
    if claimed > most {
        return Err(format!("a frame claims {claimed} bytes, at most {most} are allowed"));
    }
    let mut tar = vec![0; claimed];
    match Decompressor::new().gzip_decompress(gzip, &mut tar) {
        Ok(bytes) if bytes == claimed => Ok(tar),
        Ok(bytes) => Err(format!("a frame claims {claimed} bytes and holds {bytes}")),
        Err(e) => Err(format!("a frame is no gzip member ({e})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_compress_is_stored() {
        let noise: Vec<u8> = (0..FRAME_BYTES / 32).flat_map(|_| crate::keys::random::<32>()).collect();
        let gzip = FrameCompressor::new(Compression::Fast).compress(&noise);
        assert!(gzip.len() < MAX_SEALED_BYTES - 16 && gzip.len() >= noise.len());
        assert_eq!(inflate(&gzip, FRAME_BYTES).unwrap(), noise);
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_inflated() {
        let zeros = vec![0; 8 << 20];
        let mut gzip = FrameCompressor::new(Compression::Best).compress(&zeros);
        assert!(inflate(&gzip, FRAME_BYTES).unwrap_err().contains("claims"));
        let end = gzip.len();
        gzip[end - 4..].copy_from_slice(&1024u32.to_le_bytes());
        assert!(inflate(&gzip, FRAME_BYTES).is_err());
    }

    proptest! {
        #[test]
        fn every_strength_round_trips(tar in proptest::collection::vec(0u8..4, 0..200_000)) {
            for compression in [Compression::Fast, Compression::Balanced, Compression::Best] {
                let gzip = FrameCompressor::new(compression).compress(&tar);
                prop_assert_eq!(inflate(&gzip, FRAME_BYTES).unwrap(), tar.clone());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(gzip: Vec<u8>) {
            let _ = inflate(&gzip, FRAME_BYTES);
        }
    }
}
