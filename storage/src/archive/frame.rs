//! Frames: one gzip member each, so that any frame can be opened without the others.

use libdeflater::{CompressionLvl, Compressor, Decompressor};
use serde::{Deserialize, Serialize};

#[cfg(feature = "isal")]
use super::igzip::Igzip;
use crate::memory::buffers::{Buffer, Buffers};

/// The most tar bytes that a frame holds.
pub const FRAME_BYTES: usize = 1 << 20;

/// The most bytes that a sealed frame takes: a gzip member of incompressible data grows by a few bytes for
/// each stored block, and a hostile length field must not make us allocate more.
pub const MAX_SEALED_BYTES: usize = FRAME_BYTES + (64 << 10);

/// What is compressed to see whether a frame is worth it.
const SAMPLE: usize = 4 << 10;
/// Header and trailer of a gzip member (RFC 1952), and what an empty deflate stream takes (RFC 1951).
const GZIP_OVERHEAD: usize = 18 + 9;
/// libdeflate's stored blocks hold this many bytes, and take 5 more.
const STORED_BLOCK: usize = 65_535;

/// How hard to compress. Every choice gives the same format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Least time.
    #[default]
    Fast,
    /// Smaller, at about half the speed.
    Balanced,
    /// Smallest that gzip can do, at a fiftieth of the speed.
    Best,
}

/// What makes a gzip member. Where ISA-L is, it is the fast one; every one gives the same format.
enum Coder {
    Libdeflate(Compressor),
    #[cfg(feature = "isal")]
    IsaL(Igzip),
}

impl Coder {
    fn new(compression: Compression) -> Self {
        match compression {
            #[cfg(feature = "isal")]
            Compression::Fast => Self::IsaL(Igzip::new()),
            #[cfg(not(feature = "isal"))]
            Compression::Fast => Self::libdeflate(1),
            Compression::Balanced => Self::libdeflate(6),
            Compression::Best => Self::libdeflate(12),
        }
    }

    fn libdeflate(level: i32) -> Self {
        Self::Libdeflate(Compressor::new(CompressionLvl::new(level).expect("libdeflate has levels 0 to 12")))
    }

    /// One gzip member; `None` when it does not fit into `out`.
    fn compress(&mut self, tar: &[u8], out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Libdeflate(coder) => coder.gzip_compress(tar, out).ok(),
            #[cfg(feature = "isal")]
            Self::IsaL(coder) => coder.compress(tar, out),
        }
    }
}

/// Makes gzip members. One for each thread, since its tables are reused.
pub struct FrameCompressor {
    coder: Coder,
    store: Coder,
    probe: Vec<u8>,
    buffers: Buffers,
}

impl FrameCompressor {
    /// A compressor of that strength.
    pub fn new(compression: Compression) -> Self {
        let (coder, store) = (Coder::new(compression), Coder::libdeflate(0));
        Self { coder, store, probe: vec![0; SAMPLE], buffers: Buffers::default() }
    }

    /// One gzip member of at most [`FRAME_BYTES`].
    pub fn compress(&mut self, tar: &[u8]) -> Buffer {
        let mut gzip = self.buffers.take();
        // As many as storing takes: what would be larger is stored.
        gzip.resize(tar.len() + GZIP_OVERHEAD + tar.len().div_ceil(STORED_BLOCK) * 5, 0);
        let packed = if self.is_worth_it(tar) { self.coder.compress(tar, &mut gzip) } else { None };
        let bytes = packed.or_else(|| self.store.compress(tar, &mut gzip));
        gzip.truncate(bytes.expect("the buffer has room for stored blocks"));
        gzip
    }

    /// Whether compression gains 3 % on three samples of 4 KiB; below that the frame is stored, which costs no time.
    fn is_worth_it(&mut self, tar: &[u8]) -> bool {
        if tar.len() <= 16 * SAMPLE {
            return true;
        }
        let starts = [tar.len() / 8, tar.len() / 2, tar.len() - tar.len() / 8 - SAMPLE];
        starts.into_iter().any(|start| {
            let packed = self.coder.compress(&tar[start..start + SAMPLE], &mut self.probe);
            packed.is_some_and(|bytes| bytes < SAMPLE - SAMPLE / 32)
        })
    }
}

impl std::fmt::Debug for FrameCompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameCompressor(..)")
    }
}

/// Opens gzip members. One for each thread, since its tables are reused.
#[derive(Default)]
pub(crate) struct Inflater(Decompressor);

impl Clone for Inflater {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inflater")
    }
}

impl Inflater {
    /// The tar bytes of a gzip member, or what is wrong with it. Never allocates more than `most` bytes, whatever
    /// the member claims.
    pub(crate) fn inflate(&mut self, gzip: &[u8], most: usize, tar: &mut Vec<u8>) -> Result<(), String> {
        let claimed = gzip
            .last_chunk::<4>()
            .map(|size| u32::from_le_bytes(*size) as usize)
            .ok_or_else(|| "a gzip member is cut short".to_owned())?;
        if claimed > most {
            return Err(format!("a frame claims {claimed} bytes, but at most {most} are allowed"));
        }
        tar.resize(claimed, 0);
        match self.0.gzip_decompress(gzip, tar) {
            Ok(bytes) if bytes == claimed => Ok(()),
            Ok(bytes) => Err(format!("a frame claims {claimed} bytes but contains {bytes}")),
            Err(e) => Err(format!("a frame is not a gzip member ({e})")),
        }
    }
}

/// The tar bytes of a single gzip member, or what is wrong with it. Never allocates more than `most` bytes.
pub fn inflate(gzip: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut tar = Vec::new();
    Inflater::default().inflate(gzip, most, &mut tar)?;
    Ok(tar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_compress_is_stored() {
        let noise: Vec<u8> =
            (0..FRAME_BYTES / 32).flat_map(|_| crate::keys::secret::random::<32>()).collect();
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

        /// Nothing of a frame is in the next one.
        #[test]
        fn a_compressor_serves_many_frames(frames in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(0u8..4, 0..90_000),
                proptest::collection::vec(any::<u8>(), 0..90_000),
            ],
            1..8,
        )) {
            let mut compressor = FrameCompressor::new(Compression::Fast);
            let mut inflater = Inflater::default();
            let mut tar = Vec::new();
            for frame in &frames {
                inflater.inflate(&compressor.compress(frame), FRAME_BYTES, &mut tar).unwrap();
                prop_assert_eq!(&tar, frame);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(gzip: Vec<u8>) {
            let _ = inflate(&gzip, FRAME_BYTES);
        }
    }
}
