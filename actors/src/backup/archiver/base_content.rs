//! Content that the base's archives have: whole files by digest and size, and large ones that are similar to a file.
//!
//! The indexes are made in one pass over the base's entries when something is looked up for the first time: a run that finds
//! nothing to read does not need them. Content of which an archive may not be used is not known.

use std::sync::Arc;

use intellistor_storage::manifest::{Base, Entry, Sketch, UNUSABLE_ARCHIVE};
use intellistor_storage::memory::content_index::ContentIndex;
use intellistor_storage::memory::similarity_index::SimilarityIndex;
use intellistor_storage::{Error, Result};

use crate::backup::archiver::content::SMALL_FILE_BYTES;
use crate::backup::archiver::run_content::{content_key, size_key};

/// Looks content up in the base.
#[derive(Debug)]
pub(crate) struct BaseContent {
    base: Arc<Base>,
    indexes: Option<Indexes>,
}

/// The places are those of the entries in the base.
#[derive(Debug, Default)]
struct Indexes {
    /// By content, and by size for large files.
    contents: ContentIndex,
    similar: SimilarityIndex,
}

impl BaseContent {
    pub(crate) fn new(base: Arc<Base>) -> Self {
        Self { base, indexes: None }
    }

    /// The base's entry with that content, with this backup's numbers of archives.
    ///
    /// # Errors
    /// Those of the base's list and of temporary files.
    pub(crate) fn find(&mut self, sha256: &[u8; 32], size: u64) -> Result<Option<Entry>> {
        let Some(place) = self.indexes()?.contents.get(&content_key(sha256))? else { return Ok(None) };
        let mut entry = self.base.entry_at(place)?;
        let is_same = entry.sha256 == Some(*sha256) && entry.size == size;
        Ok((is_same && self.base.renumber(&mut entry)).then_some(entry))
    }

    /// Whether the base has a large file of that size.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub(crate) fn has_size(&mut self, size: u64) -> Result<bool> {
        Ok(self.indexes()?.contents.get(&size_key(size))?.is_some())
    }

    /// Entries with chunk lists that have much in common with a file, the most similar one first, with this backup's
    /// numbers of archives. Of their extents some may be unusable.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub(crate) fn similar(&mut self, sketch: &Sketch) -> Result<Vec<(u32, Entry)>> {
        let found = self.indexes()?.similar.similar(sketch)?;
        let entry = |place| {
            let mut entry = self.base.entry_at(place)?;
            self.base.renumber(&mut entry);
            Ok::<_, Error>(entry)
        };
        found.into_iter().map(|file| Ok((file.similarity, entry(file.place)?))).collect()
    }

    fn indexes(&mut self) -> Result<&Indexes> {
        if self.indexes.is_none() {
            self.indexes = Some(Indexes::of(&self.base)?);
        }
        Ok(self.indexes.get_or_insert_default())
    }
}

impl Indexes {
    fn of(base: &Arc<Base>) -> Result<Self> {
        let mut indexes = Self::default();
        let mut entries = base.entries(0);
        loop {
            let (_, place) = entries.next_at()?;
            let Some(entry) = entries.next().transpose()? else { return Ok(indexes) };
            indexes.add(base, entry, place)?;
        }
    }

    fn add(&mut self, base: &Base, mut entry: Entry, place: u64) -> Result<()> {
        // Other names of a file repeat what the first one says.
        if !entry.kind.has_content() || entry.size == 0 {
            return Ok(());
        }
        let leaves_out_holes = entry.content_digest().leaves_out_holes();
        let usable = base.renumber(&mut entry);
        if let (Some(sha256), true, false) = (&entry.sha256, usable, leaves_out_holes) {
            self.contents.insert(content_key(sha256), place)?;
            if entry.size > SMALL_FILE_BYTES {
                self.contents.insert(size_key(entry.size), place)?;
            }
        }
        match (&entry.sketch, &entry.chunks) {
            (Some(sketch), Some(chunks)) if chunks.archive != UNUSABLE_ARCHIVE => {
                self.similar.insert(sketch, place)
            }
            _ => Ok(()),
        }
    }
}
