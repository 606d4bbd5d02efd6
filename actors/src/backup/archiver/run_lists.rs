//! Chunk lists that were made in this run: a later file may have much in common with an earlier one.
//!
//! They are spooled to a temporary file, and found by sketch. After a crash they are lost: a file that is similar to one that
//! was archived before it is stored anew then, unless it is similar to one of the base.

use intellistor_storage::manifest::{ChunkList, Entry, Extent, Sketch};
use intellistor_storage::memory::similarity_index::SimilarityIndex;
use intellistor_storage::{Result, SpooledRecords};
use serde_bytes::ByteBuf;

/// A file with a list: its size, its extents, and the bytes of the list.
type Listed = (u64, Vec<Extent>, ByteBuf);

/// A large file that has chunks in common with another one.
#[derive(Debug)]
pub(crate) struct Relative {
    /// In how many of eight numbers the sketches agree.
    pub(crate) similarity: u32,
    /// Those that may be used, each with its place in the file.
    pub(crate) extents: Vec<(u64, Extent)>,
    pub(crate) list: ChunkList,
}

/// The large files of this run.
#[derive(Debug, Default)]
pub(crate) struct RunLists {
    similar: SimilarityIndex,
    files: SpooledRecords<Listed>,
}

impl RunLists {
    pub(crate) fn insert(&mut self, entry: &Entry, list: &ChunkList) -> Result<()> {
        let Some(sketch) = &entry.sketch else { return Ok(()) };
        let file = (entry.size, entry.extents.clone(), ByteBuf::from(list.as_bytes()));
        self.similar.insert(sketch, self.files.add(&file)?)
    }

    /// The files that have much in common with another one, the most similar one first.
    pub(crate) fn similar(&mut self, sketch: &Sketch) -> Result<Vec<Relative>> {
        let mut found = Vec::new();
        for file in self.similar.similar(sketch)? {
            let (size, extents, list) = self.files.get(file.place)?;
            let list = ChunkList::decode("a chunk list in a temporary file", list.into_vec(), size)?;
            let entry = Entry { extents, ..Entry::default() };
            let extents = entry.placed_extents().collect();
            found.push(Relative { similarity: file.similarity, extents, list });
        }
        Ok(found)
    }
}
