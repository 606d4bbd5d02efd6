//! The chunks of a large file, in order: what the next backup looks for in the file as it is then.
//!
//! A list is the content of a member `.intellistor/chunks/<n>` of the archive, all numbers big-endian:
//!
//! ```text
//! list   := average:u32 || record*
//! record := length:u64 || id:16
//! ```
//! `average` is the size in bytes that the cutter aimed at: a file is cut the same way again only with the same one. The
//! records cover the file without gap or overlap, so their lengths sum up to its size. An id of zeros marks a hole. There
//! are at most [`MOST_CHUNKS`] records.

use crate::error::{Error, Result};

/// Records of one list. A file that has more has no list, and is stored whole when it changes.
pub const MOST_CHUNKS: usize = 1 << 20;

const AVERAGE_BYTES: usize = 4;
const RECORD_BYTES: usize = 8 + size_of::<ChunkId>();

/// What a chunk's bytes are known by; chunks with the same id have the same bytes.
pub type ChunkId = [u8; 16];

/// The id of a hole.
pub const HOLE: ChunkId = [0; 16];

/// Adjacent bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// In bytes, at least 1.
    pub length: u64,
    pub id: ChunkId,
}

impl Chunk {
    /// Whether the file has nothing there, and reads as zeros.
    #[must_use]
    pub fn is_hole(&self) -> bool {
        self.id == HOLE
    }
}

/// The chunks of one file, as the bytes of its member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkList {
    /// Header and records.
    bytes: Vec<u8>,
    file_bytes: u64,
}

impl ChunkList {
    /// One without chunks, for a file that is cut into chunks of `average` bytes.
    #[must_use]
    pub fn new(average: u32) -> Self {
        Self { bytes: average.to_be_bytes().to_vec(), file_bytes: 0 }
    }

    /// Adds the chunk behind the last one; one of no bytes is no chunk. `false` when there are [`MOST_CHUNKS`] already, or
    /// the file would be larger than a file can be: it is to have no list then.
    #[must_use]
    pub fn push(&mut self, chunk: Chunk) -> bool {
        if chunk.length == 0 {
            return true;
        }
        let Some(file_bytes) = self.file_bytes.checked_add(chunk.length) else { return false };
        if self.len() == MOST_CHUNKS {
            return false;
        }
        self.file_bytes = file_bytes;
        self.bytes.extend_from_slice(&chunk.length.to_be_bytes());
        self.bytes.extend_from_slice(&chunk.id);
        true
    }

    /// Reads the bytes of a member that should be the list of a file of `file_bytes` bytes.
    ///
    /// # Errors
    /// [`Error::Integrity`] when they are anything else; `what` names the list in it.
    pub fn decode(what: &str, bytes: Vec<u8>, file_bytes: u64) -> Result<Self> {
        let refused = |reason: &str| Error::integrity(what, reason);
        if bytes.len() > Self::most_bytes() {
            return Err(refused("it has more records than a list can have"));
        }
        let records = bytes.get(AVERAGE_BYTES..).ok_or_else(|| refused("it is shorter than its header"))?;
        let (records, rest) = records.as_chunks::<RECORD_BYTES>();
        if !rest.is_empty() {
            return Err(refused("its last record is cut"));
        }
        let mut sum = 0_u64;
        for record in records {
            let length = chunk(record).length;
            if length == 0 {
                return Err(refused("a chunk has no bytes"));
            }
            sum =
                sum.checked_add(length).ok_or_else(|| refused("its chunks are longer than a file can be"))?;
        }
        if sum != file_bytes {
            return Err(refused(&format!(
                "its chunks have {sum} bytes together, but the file has {file_bytes}"
            )));
        }
        Ok(Self { bytes, file_bytes })
    }

    /// Header and records, as the member has them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Of what a member may have, the most: whoever fetches one need read no more than that.
    #[must_use]
    pub const fn most_bytes() -> usize {
        AVERAGE_BYTES + MOST_CHUNKS * RECORD_BYTES
    }

    /// The size in bytes that the cutter aimed at. In a list that was read it may be any number.
    #[must_use]
    pub fn average(&self) -> u32 {
        u32::from_be_bytes(*self.bytes.first_chunk().expect("every list has a header"))
    }

    /// Size of the file in bytes, holes included.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Number of chunks, holes included.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.bytes.len() - AVERAGE_BYTES) / RECORD_BYTES
    }

    /// Whether it is the list of an empty file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The chunks, each with its offset in the file.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Chunk)> + '_ {
        let mut offset = 0;
        self.bytes[AVERAGE_BYTES..].as_chunks().0.iter().map(move |record| {
            let chunk = chunk(record);
            let at = offset;
            // The sum was computed before, when it was built or read.
            offset += chunk.length;
            (at, chunk)
        })
    }
}

fn chunk(record: &[u8; RECORD_BYTES]) -> Chunk {
    let (length, id) = record.split_first_chunk::<8>().expect("a record is longer than its length");
    let id = *id.first_chunk().expect("a record ends with an id");
    Chunk { length: u64::from_be_bytes(*length), id }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(average: u32, chunks: &[Chunk]) -> ChunkList {
        let mut list = ChunkList::new(average);
        assert!(chunks.iter().all(|&chunk| list.push(chunk)));
        list
    }

    fn refusal(bytes: &[u8], file_bytes: u64) -> String {
        ChunkList::decode("the chunk list of a.img", bytes.to_vec(), file_bytes).unwrap_err().to_string()
    }

    #[test]
    fn its_bytes_are_those_of_the_format() {
        let chunks = [Chunk { length: 0x1234, id: [7; 16] }, Chunk { length: 1 << 40, id: HOLE }];
        let list = list(16384, &chunks);
        let expected = "00004000\
                        0000000000001234 07070707070707070707070707070707\
                        0000010000000000 00000000000000000000000000000000";
        assert_eq!(hex::encode(list.as_bytes()), expected.replace(' ', ""));
        assert_eq!(list.iter().collect::<Vec<_>>(), [(0, chunks[0]), (0x1234, chunks[1])]);
        assert!(!chunks[0].is_hole() && chunks[1].is_hole());
    }

    #[test]
    fn what_is_no_list_of_that_file_is_refused() {
        let good = list(16384, &[Chunk { length: 10, id: [1; 16] }, Chunk { length: 5, id: [2; 16] }]);
        let bytes = good.as_bytes();
        assert_eq!(ChunkList::decode("x", bytes.to_vec(), 15).unwrap(), good);
        assert!(refusal(bytes, 16).contains("15 bytes together, but the file has 16"));
        assert!(refusal(&bytes[..3], 0).contains("shorter than its header"));
        assert!(refusal(&bytes[..bytes.len() - 1], 15).contains("the chunk list of a.img"));
        assert!(refusal(&bytes[..bytes.len() - 24], 15).contains("10 bytes together"));
        let forged = |lengths: &[u64]| {
            let records = lengths.iter().flat_map(|n| [&n.to_be_bytes()[..], &[1; 16]].concat());
            [0; 4].into_iter().chain(records).collect::<Vec<u8>>()
        };
        assert!(refusal(&forged(&[15, 0]), 15).contains("has no bytes"));
        assert!(refusal(&forged(&[u64::MAX, 16]), 15).contains("longer than a file can be"));
        assert!(ChunkList::decode("x", forged(&[]), 0).unwrap().is_empty());
    }

    #[test]
    fn a_list_has_an_end() {
        let one = Chunk { length: 1, id: [1; 16] };
        let mut list = ChunkList::new(1);
        for _ in 0..MOST_CHUNKS {
            assert!(list.push(one));
        }
        assert!(!list.push(one), "one more than a list can have");
        assert_eq!(list.as_bytes().len(), ChunkList::most_bytes());
        ChunkList::decode("x", list.as_bytes().to_vec(), MOST_CHUNKS as u64).unwrap();
        let longer = [list.as_bytes(), &one.length.to_be_bytes(), &one.id].concat();
        assert!(refusal(&longer, MOST_CHUNKS as u64 + 1).contains("more records"));
        let mut long = ChunkList::new(1);
        assert!(long.push(Chunk { length: u64::MAX, id: [1; 16] }) && !long.push(one));
        assert!(long.push(Chunk { length: 0, id: [1; 16] }) && long.len() == 1, "no bytes are no chunk");
    }

    proptest! {
        #[test]
        fn any_chunks_come_back(chunks in prop::collection::vec((1..u64::MAX >> 8, any::<[u8; 16]>()), 0..200), average: u32) {
            let chunks: Vec<_> = chunks.into_iter().map(|(length, id)| Chunk { length, id }).collect();
            let list = list(average, &chunks);
            let read = ChunkList::decode("x", list.as_bytes().to_vec(), list.file_bytes()).unwrap();
            prop_assert_eq!(read.average(), average);
            prop_assert_eq!(read.iter().map(|(_, chunk)| chunk).collect::<Vec<_>>(), chunks);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), file_bytes: u64) {
            if let Ok(list) = ChunkList::decode("x", bytes.clone(), file_bytes) {
                prop_assert_eq!(list.as_bytes(), bytes);
                prop_assert_eq!(list.iter().map(|(_, chunk)| chunk.length).sum::<u64>(), file_bytes);
            }
        }

        /// Of random bytes hardly any are a list, so: bytes of one, with some changed.
        #[test]
        fn an_altered_list_is_read_as_one_that_fits_the_file_or_refused(
            lengths in prop::collection::vec(1..4_u64, 1..20), at: prop::sample::Index, value: u8, cut in 0..30_usize,
        ) {
            let chunks: Vec<_> = lengths.iter().map(|&length| Chunk { length, id: [9; 16] }).collect();
            let file_bytes = lengths.iter().sum();
            let mut bytes = list(16384, &chunks).as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = value;
            bytes.truncate(bytes.len().saturating_sub(cut / 10 * cut));
            if let Ok(list) = ChunkList::decode("x", bytes, file_bytes) {
                prop_assert_eq!(list.iter().map(|(_, chunk)| chunk.length).sum::<u64>(), file_bytes);
            }
        }
    }
}
