//! Files whose content this archive has: another file with the same content is a copy of the first.
//!
//! Records are spooled to a temporary file, and the index is bounded: see [`ContentIndex`]. Only files that are in the archive
//! as one member without holes are known, for only these have a name that a hard link can point to.

use intellistor_storage::manifest::{ChunkList, Entry, EntryKind, Extent, Sketch};
use intellistor_storage::memory::content_index::ContentIndex;
use intellistor_storage::{Result, SpooledRecords};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::backup::archiver::content::SMALL_FILE_BYTES;

/// Of a large file, the chunks that begin here tell whether another one of its size is worth being hashed.
pub(crate) const HEAD_BYTES: u64 = 1 << 20;

/// What tells the beginnings of large files apart.
pub(crate) type Head = [u8; 16];

/// The files of this run.
#[derive(Debug, Default)]
pub struct RunContent {
    index: ContentIndex,
    firsts: SpooledRecords<First>,
    /// Where what its entries have in this archive ends.
    end: u64,
}

/// A file in this archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct First {
    pub(crate) path: ByteBuf,
    pub(crate) sha256: [u8; 32],
    pub(crate) size: u64,
    /// Where its content begins in the tar stream.
    pub(crate) offset: u64,
    pub(crate) chunks: Option<Extent>,
    pub(crate) sketch: Option<Sketch>,
}

impl RunContent {
    /// Remembers a committed entry, if it is a file that this archive has as one member.
    ///
    /// # Errors
    /// Those of the temporary file.
    pub fn add(&mut self, entry: &Entry) -> Result<()> {
        // Its chunks are not at hand: every file of its size is hashed.
        self.insert(entry, None)
    }

    /// Remembers a file that was archived now, with the chunks of a large one.
    pub(crate) fn insert(&mut self, entry: &Entry, list: Option<&ChunkList>) -> Result<()> {
        let begins = self.end;
        let own = entry.extents.iter().filter(|extent| extent.archive == 0);
        self.end = own.map(|extent| extent.offset.saturating_add(extent.length)).fold(begins, u64::max);
        let (Some(sha256), Some(offset)) = (entry.sha256, member_offset(entry)) else { return Ok(()) };
        if offset < begins {
            // Its bytes are those of an earlier member: it is a copy, or a part of one that was put together. A hard link
            // to it would lead nowhere in the second case.
            return Ok(());
        }
        let Entry { size, chunks, sketch, .. } = *entry;
        let path = ByteBuf::from(entry.raw_path());
        let first = self.firsts.add(&First { path, sha256, size, offset, chunks, sketch })?;
        self.index.insert(content_key(&sha256), first)?;
        if size > SMALL_FILE_BYTES {
            let head = list.map_or(ANY_HEAD, head_of);
            self.index.insert(size_key(size), first)?;
            self.index.insert(head_key(size, &head), first)?;
        }
        Ok(())
    }

    /// The file with that content.
    pub(crate) fn find(&mut self, sha256: &[u8; 32], size: u64) -> Result<Option<First>> {
        let Some(place) = self.index.get(&content_key(sha256))? else { return Ok(None) };
        let first = self.firsts.get(place)?;
        Ok((first.sha256 == *sha256 && first.size == size).then_some(first))
    }

    /// Whether there is a large file of that size.
    pub(crate) fn has_size(&self, size: u64) -> Result<bool> {
        Ok(self.index.get(&size_key(size))?.is_some())
    }

    /// Whether there is a large file of that size that begins so, or may.
    pub(crate) fn has_head(&self, size: u64, head: &Head) -> Result<bool> {
        let has = |head| self.index.get(&head_key(size, head)).map(|found| found.is_some());
        Ok(has(&ANY_HEAD)? || has(head)?)
    }
}

/// Where the content of a file begins that this archive has as one member without holes.
pub(crate) fn member_offset(entry: &Entry) -> Option<u64> {
    let [Extent { archive: 0, offset, length, at: None }] = *entry.extents else { return None };
    (entry.kind == EntryKind::File && length == entry.size).then_some(offset)
}

/// Stands for a beginning that is not known.
const ANY_HEAD: Head = [0; 16];

/// What tells the beginning of a file apart: the ids of its first chunks.
pub(crate) fn head_of(list: &ChunkList) -> Head {
    let mut hasher = blake3::Hasher::new();
    for (_, chunk) in list.iter().take_while(|(at, _)| *at < HEAD_BYTES) {
        hasher.update(&chunk.id);
    }
    first_half(&hasher.finalize())
}

fn first_half(hash: &blake3::Hash) -> [u8; 16] {
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// The key of a whole content.
pub(crate) fn content_key(sha256: &[u8; 32]) -> [u8; 16] {
    *sha256.first_chunk().expect("a digest has 32 bytes")
}

/// The key of a size, which no content has by chance.
pub(crate) fn size_key(size: u64) -> [u8; 16] {
    first_half(&blake3::hash(&size.to_be_bytes()))
}

fn head_key(size: u64, head: &Head) -> [u8; 16] {
    first_half(&blake3::Hasher::new().update(&size.to_be_bytes()).update(head).finalize())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn file(path: &str, sha256: u8, offset: u64, length: u64) -> Entry {
        let extents = vec![Extent { archive: 0, offset, length, at: None }];
        let (relative_path, sha256) = (path.to_owned(), Some([sha256; 32]));
        Entry { relative_path, size: length, sha256, extents, ..Entry::default() }
    }

    /// With a base, a large file may be put together of chunks of an earlier one, and have no member.
    #[test]
    fn only_what_is_a_member_can_be_the_first_of_its_copies() {
        let mut content = RunContent::default();
        for entry in [file("a", 1, 1000, 500), file("b", 2, 1000, 300), file("c", 3, 1200, 100)] {
            content.add(&entry).unwrap();
        }
        content.add(&file("same", 1, 1000, 500)).unwrap();
        content.add(&file("d", 4, 2000, 10)).unwrap();
        let mut first = |sha256, size| content.find(&[sha256; 32], size).unwrap().map(|first| first.path);
        assert_eq!(first(1, 500).unwrap(), b"a");
        assert_eq!((first(2, 300), first(3, 100)), (None, None));
        assert_eq!(first(4, 10).unwrap(), b"d");
    }
}
