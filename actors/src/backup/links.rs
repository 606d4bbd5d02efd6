//! Files with several names: their content is archived under the first, and the others point to it.
//!
//! Entries are spooled to a temporary file, and some 50 bytes of each file are in memory: a folder of snapshots made of hard
//! links has millions of them, and a path may have any length.

use std::collections::HashMap;

use std::hash::{BuildHasher, RandomState};

use intellistor_storage::manifest::{Entry, EntryKind, Listed};
use intellistor_storage::{Result, SpooledRecords};

use crate::backup::changes::Step;
use crate::source::{FileId, FileMetadata, ScannedEntry, SourceKind};

/// Archived files of which the walk has more names to come.
#[derive(Debug, Default)]
pub struct LinkTable {
    links: HashMap<FileId, Linked>,
    entries: SpooledRecords<Entry>,
}

#[derive(Debug)]
struct Linked {
    /// Number of its entry in `entries`.
    first: u64,
    size: u64,
    mtime_ns: i128,
    names_left: u64,
}

/// One of the names of a file, in a walk.
struct Name {
    identity: FileId,
    /// How many names the file has.
    links: u64,
    /// Its position among the file's names in the walk, from 1.
    nth: u64,
}

impl LinkTable {
    /// Adds an archived file, if further names may come.
    ///
    /// # Errors
    /// Those of the temporary file.
    pub fn add(&mut self, metadata: &FileMetadata, first: &Entry) -> Result<()> {
        match metadata.identity {
            Some(identity) if metadata.links > 1 => self.insert(identity, first, metadata.links - 1),
            _ => Ok(()),
        }
    }

    fn insert(&mut self, identity: FileId, first: &Entry, names_left: u64) -> Result<()> {
        if self.links.is_empty() {
            // No later name needs what is in it.
            self.entries = SpooledRecords::default();
        }
        let Entry { size, mtime_ns, .. } = *first;
        let first = self.entries.add(first)?;
        self.links.insert(identity, Linked { first, size, mtime_ns, names_left });
        Ok(())
    }

    /// The entry that has the content of a file with this metadata, if it was archived under another name and has not
    /// changed since.
    ///
    /// # Errors
    /// Those of the temporary file.
    pub fn take(&mut self, metadata: &FileMetadata) -> Result<Option<Entry>> {
        let Some(identity) = metadata.identity.filter(|_| metadata.links > 1) else { return Ok(None) };
        let Some(linked) = self.links.get_mut(&identity) else { return Ok(None) };
        if (linked.size, linked.mtime_ns) != (metadata.size, metadata.mtime_ns) {
            // Or another file that reuses the number: it has to be read.
            self.links.remove(&identity);
            return Ok(None);
        }
        let first = linked.first;
        linked.names_left -= 1;
        if linked.names_left == 0 {
            self.links.remove(&identity);
        }
        self.entries.get(first).map(Some)
    }

    /// The table as it was when an earlier run had archived everything before `next` in the walk: from what it
    /// scanned, and from the entries that it committed.
    ///
    /// # Errors
    /// Those of the two sources.
    pub fn rebuild(
        scanned: impl Iterator<Item = Result<Vec<Step>>>,
        next: u64,
        committed: impl Iterator<Item = Result<Vec<Listed>>>,
    ) -> Result<Self> {
        // Every name is remembered, since a file's first may have been skipped.
        let hasher = RandomState::new();
        let mut names: HashMap<u64, Name> = HashMap::new();
        let mut seen: HashMap<FileId, u64> = HashMap::new();
        let mut index = 0;
        'scan: for batch in scanned {
            for step in batch? {
                if index == next {
                    break 'scan;
                }
                index += 1;
                let (Step::Known { scanned, .. } | Step::Read { scanned, .. }) = step else { continue };
                let ScannedEntry { relative_path, metadata, .. } = scanned;
                let Some(identity) = metadata.identity.filter(|_| metadata.links > 1) else { continue };
                if metadata.kind != SourceKind::File {
                    continue;
                }
                let seen = seen.entry(identity).or_default();
                *seen += 1;
                let path = hasher.hash_one(relative_path.as_slice());
                names.insert(path, Name { identity, links: metadata.links, nth: *seen });
            }
        }
        let left = |name: &Name| name.links.saturating_sub(1 + seen[&name.identity] - name.nth);
        names.retain(|_, name| left(name) > 0);
        let mut table = Self::default();
        for entries in committed {
            for listed in entries? {
                let Listed::Entry { entry, .. } = listed else { continue };
                if entry.kind != EntryKind::File {
                    continue;
                }
                if let Some(name) = names.get(&hasher.hash_one(entry.raw_path())) {
                    table.insert(name.identity, &entry, left(name))?;
                }
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
