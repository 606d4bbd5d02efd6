//! What files that have much in common have in common: with it the lists of a few files are fetched, and not all.
//!
//! Eight keyed hashes of each chunk's id, and of each the least one over the chunks of the first 16 MiB of data (MinHash;
//! Broder, "On the resemblance and containment of documents", 1997). The part of eight that two files agree in is about
//! the part of their chunks that they share. The hashes are keyed, so that a plain manifest confirms no guess at content.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize as _, Zeroizing};

use crate::keys::ContentKey;
use crate::manifest::chunk_list::Chunk;
use crate::text::base64_array;

/// Of so many bytes of data, holes not counted, the chunks are in the sketch: those that begin there.
pub const SKETCHED_BYTES: u64 = 16 << 20;

const LANES: usize = 8;
const LANE_BYTES: usize = size_of::<u64>();

/// The least hashes of a file's chunks. In JSON: base64 of eight numbers of 64 bits, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sketch {
    lanes: [u64; LANES],
}

impl Sketch {
    /// In how many of eight hashes both agree.
    #[must_use]
    pub fn similarity(&self, other: &Self) -> u32 {
        self.lanes.iter().zip(&other.lanes).map(|(a, b)| u32::from(a == b)).sum()
    }

    pub(crate) fn lanes(&self) -> &[u64; LANES] {
        &self.lanes
    }
}

impl Serialize for Sketch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = [0; LANES * LANE_BYTES];
        for (room, lane) in bytes.as_chunks_mut().0.iter_mut().zip(self.lanes) {
            *room = lane.to_be_bytes();
        }
        base64_array::serialize(&bytes, serializer)
    }
}

impl<'de> Deserialize<'de> for Sketch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: [u8; LANES * LANE_BYTES] = base64_array::deserialize(deserializer)?;
        let mut lanes = [0; LANES];
        for (lane, bytes) in lanes.iter_mut().zip(bytes.as_chunks().0) {
            *lane = u64::from_be_bytes(*bytes);
        }
        Ok(Self { lanes })
    }
}

/// Makes the sketch of a file while it is cut.
#[derive(Debug)]
pub struct SketchBuilder {
    /// Keyed, and fed with nothing; it has the key.
    hasher: blake3::Hasher,
    lanes: [u64; LANES],
    /// Of the chunks so far, without holes.
    data_bytes: u64,
}

impl SketchBuilder {
    #[must_use]
    pub fn new(key: &ContentKey) -> Self {
        Self { hasher: key.hasher(), lanes: [u64::MAX; LANES], data_bytes: 0 }
    }

    /// Takes the next chunk.
    pub fn add(&mut self, chunk: &Chunk) {
        if chunk.is_hole() || self.is_complete() {
            return;
        }
        self.data_bytes = self.data_bytes.saturating_add(chunk.length);
        let mut bytes = [0; LANES * LANE_BYTES];
        Zeroizing::new(self.hasher.update(&chunk.id).finalize_xof()).fill(&mut bytes);
        self.hasher.reset();
        for (lane, hash) in self.lanes.iter_mut().zip(bytes.as_chunks().0) {
            *lane = (*lane).min(u64::from_be_bytes(*hash));
        }
    }

    /// Whether further chunks make no difference.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.data_bytes >= SKETCHED_BYTES
    }

    /// The sketch of the chunks so far; `None` when there was none but holes.
    #[must_use]
    pub fn sketch(&self) -> Option<Sketch> {
        (self.data_bytes > 0).then_some(Sketch { lanes: self.lanes })
    }
}

impl Drop for SketchBuilder {
    fn drop(&mut self) {
        self.hasher.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::chunk_list::HOLE;

    fn chunk(n: u32) -> Chunk {
        let mut id = [1; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Chunk { length: 16 << 10, id }
    }

    fn sketch(key: &ContentKey, chunks: impl IntoIterator<Item = Chunk>) -> Sketch {
        let mut builder = SketchBuilder::new(key);
        chunks.into_iter().for_each(|chunk| builder.add(&chunk));
        builder.sketch().unwrap()
    }

    #[test]
    fn files_that_share_more_chunks_agree_in_more() {
        let key = ContentKey::generate();
        let file = sketch(&key, (0..1000).map(chunk));
        assert_eq!(
            file.similarity(&sketch(&key, (0..1000).rev().map(chunk))),
            8,
            "the order makes no difference"
        );
        // The mean of many pairs, so that no bad luck fails it.
        let mean = |shared: u32| {
            let pair = |n: u32| {
                let start = n * 10_000;
                let one = sketch(&key, (start..start + 500).map(chunk));
                let other = sketch(&key, (start + 500 - shared..start + 1000 - shared).map(chunk));
                one.similarity(&other)
            };
            f64::from((1..=200).map(pair).sum::<u32>()) / 200.0
        };
        let (none, half, most) = (mean(0), mean(250), mean(450));
        // Shared of all: 0, 1/3, 9/11. Six standard deviations are 0.6.
        assert!(
            none < 0.1 && (2.0..3.4).contains(&half) && (5.9..7.2).contains(&most),
            "{none} {half} {most}"
        );
    }

    #[test]
    fn under_another_key_nothing_agrees() {
        let [one, two] = [(); 2].map(|()| sketch(&ContentKey::generate(), (0..1000).map(chunk)));
        assert_eq!(one.similarity(&two), 0);
    }

    #[test]
    fn the_first_16_mib_of_data_count() {
        let key = ContentKey::generate();
        let hole = Chunk { length: 1 << 40, id: HOLE };
        let start = || (0..1024).map(chunk);
        let whole = sketch(&key, start());
        assert_eq!(sketch(&key, [hole].into_iter().chain(start())), whole);
        assert_eq!(sketch(&key, start().chain((2000..9000).map(chunk))), whole);
        let mut builder = SketchBuilder::new(&key);
        builder.add(&hole);
        assert_eq!(builder.sketch(), None);
        start().take(1023).for_each(|chunk| builder.add(&chunk));
        assert!(!builder.is_complete());
        builder.add(&chunk(1023));
        assert!(builder.is_complete());
    }

    #[test]
    fn in_json_it_is_base64_of_64_bytes() {
        let sketch = Sketch { lanes: [1, 2, 3, 4, 5, 6, 7, u64::MAX] };
        let json = serde_json::to_string(&sketch).unwrap();
        let expected =
            "\"AAAAAAAAAAEAAAAAAAAAAgAAAAAAAAADAAAAAAAAAAQAAAAAAAAABQAAAAAAAAAGAAAAAAAAAAf//////////w==\"";
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Sketch>(&json).unwrap(), sketch);
        for refused in ["\"\"", "\"AAAA\"", "8", &json.replace("//w==", "//8A"), &json.replace('A', "*")] {
            assert!(serde_json::from_str::<Sketch>(refused).is_err(), "{refused}");
        }
    }
}
