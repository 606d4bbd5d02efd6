//! The backup that another one takes entries over from.
//!
//! **In:** its verified manifest, and which of its archives may be used. **Out:** its entries in their order, or at a
//! place, in constant memory, with the numbers that their archives have in the new manifest. It is read from several
//! threads at once, each with a reader of its own.

use std::sync::Arc;

use super::base_entries::{self, BaseEntries};
use super::changed_while_read::ChangedWhileRead;
use super::entry::{Entry, Extent};
use super::head::{BaseRecord, MOST_ARCHIVES};
use super::reader::VerifiedManifest;
use crate::archive::set::ArchiveSet;
use crate::error::{Error, Result};

/// The number that [`Base::renumber`] gives to an archive that may not be used. No manifest has it.
pub const UNUSABLE_ARCHIVE: u32 = u32::MAX;

/// A verified manifest, and the numbers of its archives in the new one.
#[derive(Debug)]
pub struct Base {
    manifest: Arc<VerifiedManifest>,
    numbers: Vec<Option<u32>>,
}

impl Base {
    /// `numbers` are those of [`numbers_of`](Self::numbers_of): a job keeps them.
    ///
    /// # Errors
    /// [`Error::Integrity`] when they are not those of this manifest's archives, or more than the new manifest may name beside
    /// its own.
    pub fn new(manifest: VerifiedManifest, numbers: Vec<Option<u32>>) -> Result<Self> {
        let expected = Self::numbers_of(numbers.iter().map(Option::is_some));
        if numbers.len() != manifest.head().archives.len() || numbers != expected {
            return Err(Error::integrity(
                "the numbers of the base's archives",
                format!("they do not fit {} archives", manifest.head().archives.len()),
            ));
        }
        let usable = numbers.iter().flatten().count();
        if usable >= MOST_ARCHIVES {
            return Err(Error::integrity(
                "the numbers of the base's archives",
                format!(
                    "{usable} would be named, beside the backup's own, but at most {MOST_ARCHIVES} may be"
                ),
            ));
        }
        Ok(Self { manifest: Arc::new(manifest), numbers })
    }

    /// The numbers of a base's archives in the new manifest: its own archive is number 0, the usable ones follow in their
    /// order.
    pub fn numbers_of(usable: impl IntoIterator<Item = bool>) -> Vec<Option<u32>> {
        let mut next = 0;
        let number = |usable: bool| {
            usable.then(|| {
                next += 1;
                next
            })
        };
        usable.into_iter().map(number).collect()
    }

    pub fn manifest(&self) -> &VerifiedManifest {
        &self.manifest
    }

    /// For each of its archives, the number in the new manifest; `None` where it may not be used.
    pub fn numbers(&self) -> &[Option<u32>] {
        &self.numbers
    }

    /// When its walk began, in milliseconds since 1970 UTC.
    pub fn began_ms(&self) -> i64 {
        self.manifest.head().began_ms
    }

    /// What the new manifest says of it.
    pub fn record(&self) -> BaseRecord {
        let head = self.manifest.head();
        let full = head.base.as_ref().map_or(&head.name.timestamp, |base| &base.full);
        BaseRecord {
            backup_id: head.name.backup_id.clone(),
            manifest_sha256: self.manifest.document_sha256(),
            full: full.clone(),
        }
    }

    /// The numbers that its usable archives have in its manifest, in the order of the new ones, which begin at 1.
    pub(super) fn usable(&self) -> impl Iterator<Item = usize> {
        self.numbers.iter().enumerate().filter_map(|(number, new)| new.map(|_| number))
    }

    /// Gives the archives of an entry's extents and of its chunk list the numbers of the new manifest. `false` where not all
    /// may be used: then those have the number [`UNUSABLE_ARCHIVE`], and the entry cannot be taken over.
    pub fn renumber(&self, entry: &mut Entry) -> bool {
        let mut usable = true;
        for extent in entry.extents.iter_mut().chain(&mut entry.chunks) {
            let number = self.numbers.get(extent.archive as usize).copied().flatten();
            usable &= number.is_some();
            extent.archive = number.unwrap_or(UNUSABLE_ARCHIVE);
        }
        usable
    }

    /// Of an entry that was renumbered: the extents that may be used, each with its place in the file.
    pub fn usable_extents(&self, entry: &Entry) -> Vec<(u64, Extent)> {
        entry.placed_extents().filter(|(_, extent)| extent.archive != UNUSABLE_ARCHIVE).collect()
    }

    /// Reads its entries from the one with an index, as its manifest has them: not renumbered.
    pub fn entries(&self, from: u64) -> BaseEntries {
        BaseEntries::new(self.manifest.clone(), from)
    }

    /// The entry whose line begins at a place that [`BaseEntries::next_at`] gave, as its manifest has it.
    ///
    /// # Errors
    /// [`Error::Integrity`] when no entry begins there; [`Error::Io`] when the temporary file cannot be read.
    pub fn entry_at(&self, offset: u64) -> Result<Entry> {
        base_entries::read_at(&self.manifest, offset)
    }

    /// Those of its entries that changed while they were read.
    ///
    /// # Errors
    /// As for [`VerifiedManifest::for_each_problem`].
    pub fn changed_while_read(&self) -> Result<ChangedWhileRead> {
        ChangedWhileRead::of(&self.manifest)
    }

    /// Its usable archives, by their new numbers. Number 0, the new backup's own, is not there yet: it has no frames.
    ///
    /// # Errors
    /// As for [`VerifiedManifest::archives`].
    pub fn archives(&self) -> Result<ArchiveSet> {
        let mut archives = ArchiveSet::default();
        let manifest = &self.manifest;
        archives.add(String::new(), manifest.header().clone(), manifest.data_key().clone(), &[])?;
        for number in self.usable() {
            manifest.add_archive(number, &mut archives)?;
        }
        Ok(archives)
    }
}

#[cfg(test)]
pub(super) mod tests;
