//! The chunks that need not be stored again: where those of a few similar files are.
//!
//! Some 24 bytes for each chunk are in memory, of [`MOST_KNOWN`] chunks at most; what is beyond that is stored anew.

use intellistor_storage::manifest::{ChunkId, ChunkList, Extent};

/// Chunks in the table.
const MOST_KNOWN: usize = 1 << 20;
/// The number of a source is in the upper bits of a place: a file is not as large.
const SOURCE_SHIFT: u32 = 56;

/// Chunks of files whose content is at hand.
#[derive(Debug, Default)]
pub(crate) struct KnownChunks {
    /// Each with its source, and its place in that file.
    table: Vec<(ChunkId, u64)>,
    sources: Vec<Vec<(u64, Extent)>>,
}

impl KnownChunks {
    /// Adds the chunks of a file, as far as `extents` have all of their bytes: usable ones, each with its place in the file,
    /// ascending. What was added before has precedence.
    pub(crate) fn add(&mut self, extents: Vec<(u64, Extent)>, list: &ChunkList) {
        let Some(source) = u64::try_from(self.sources.len()).ok().filter(|n| *n < 1 << (64 - SOURCE_SHIFT))
        else {
            return;
        };
        let mut from = 0;
        for (at, chunk) in list.iter().filter(|(_, chunk)| !chunk.is_hole()) {
            let Some(end) = at.checked_add(chunk.length).filter(|end| *end < 1 << SOURCE_SHIFT) else {
                break;
            };
            while extents.get(from).is_some_and(|(place, extent)| place.saturating_add(extent.length) <= at) {
                from += 1;
            }
            if self.table.len() < MOST_KNOWN && covers(&extents[from..], at, end) {
                self.table.push((chunk.id, source << SOURCE_SHIFT | at));
            }
        }
        self.sources.push(extents);
    }

    /// To be called once all is added.
    pub(crate) fn finish(&mut self) {
        // The source that was added first, and the first place in it.
        self.table.sort_unstable();
        self.table.dedup_by_key(|(id, _)| *id);
        self.table.shrink_to_fit();
    }

    /// Where the bytes of a chunk are: extents without a place, in their order. `None` where it is not known.
    pub(crate) fn find(&self, id: &ChunkId, length: u64) -> Option<impl Iterator<Item = Extent>> {
        let found = self.table.binary_search_by(|(known, _)| known.cmp(id)).ok()?;
        let place = self.table[found].1;
        let (source, at) = ((place >> SOURCE_SHIFT) as usize, place & ((1 << SOURCE_SHIFT) - 1));
        let extents = &self.sources[source];
        let from = extents.partition_point(|(place, extent)| place + extent.length <= at);
        // Its id says its length too, but that is a list's word.
        covers(&extents[from..], at, at + length).then(|| pieces(&extents[from..], at, at + length))
    }
}

/// Whether the first of `extents` have all bytes from `at` to `end`.
fn covers(extents: &[(u64, Extent)], mut at: u64, end: u64) -> bool {
    for (place, extent) in extents {
        if *place > at {
            return false;
        }
        at = place.saturating_add(extent.length);
        if at >= end {
            return true;
        }
    }
    false
}

fn pieces(extents: &[(u64, Extent)], at: u64, end: u64) -> impl Iterator<Item = Extent> {
    extents.iter().take_while(move |(place, _)| *place < end).map(move |(place, extent)| {
        let from = at.max(*place);
        let until = end.min(place + extent.length);
        Extent {
            archive: extent.archive,
            offset: extent.offset + (from - place),
            length: until - from,
            at: None,
        }
    })
}

#[cfg(test)]
mod tests {
    use intellistor_storage::manifest::{Chunk, HOLE};

    use super::*;

    fn extent(archive: u32, offset: u64, length: u64) -> Extent {
        Extent { archive, offset, length, at: None }
    }

    fn list(chunks: &[(u8, u64)]) -> ChunkList {
        let mut list = ChunkList::new(16 << 10);
        for &(id, length) in chunks {
            assert!(list.push(Chunk { length, id: [id; 16] }));
        }
        list
    }

    fn find(known: &KnownChunks, id: u8, length: u64) -> Option<Vec<Extent>> {
        known.find(&[id; 16], length).map(Iterator::collect)
    }

    #[test]
    fn a_chunk_is_found_in_all_extents_that_it_is_in_and_what_lacks_a_byte_is_not_known() {
        let mut known = KnownChunks::default();
        // 0..100 and 100..150 are there, 150..200 is not, 200..260 is a hole, 260..300 is there.
        let extents = vec![(0, extent(1, 1000, 100)), (100, extent(2, 50, 50)), (260, extent(1, 9000, 40))];
        known.add(extents, &list(&[(1, 30), (2, 80), (3, 30), (4, 30), (5, 30), (HOLE[0], 60), (6, 40)]));
        known.finish();
        assert_eq!(find(&known, 1, 30).unwrap(), [extent(1, 1000, 30)]);
        assert_eq!(find(&known, 2, 80).unwrap(), [extent(1, 1030, 70), extent(2, 50, 10)]);
        assert_eq!(find(&known, 3, 30).unwrap(), [extent(2, 60, 30)]);
        assert_eq!(find(&known, 4, 30), None, "its end is missing");
        assert_eq!(find(&known, 5, 30), None);
        assert_eq!(find(&known, HOLE[0], 60), None);
        assert_eq!(find(&known, 6, 40).unwrap(), [extent(1, 9000, 40)]);
        assert_eq!(find(&known, 6, 41), None, "a list with another length");
        assert_eq!(find(&known, 9, 1), None);
    }

    #[test]
    fn the_first_source_has_precedence() {
        let mut known = KnownChunks::default();
        known.add(vec![(0, extent(3, 7, 20))], &list(&[(1, 10), (2, 10)]));
        known.add(vec![(0, extent(0, 900, 30))], &list(&[(2, 10), (3, 20)]));
        known.finish();
        assert_eq!(find(&known, 2, 10).unwrap(), [extent(3, 17, 10)]);
        assert_eq!(find(&known, 3, 20).unwrap(), [extent(0, 910, 20)]);
    }
}
