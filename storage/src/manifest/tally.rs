//! Sums over the entries of a backup, counted while they are committed.

use super::entry::{Entry, EntryKind, Extent};
use super::head::{Changes, Totals};
use super::listed::Change;

/// What a manifest's head says of its entries.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) totals: Totals,
    /// Without what the archive takes, and without what was deleted.
    pub(super) changes: Changes,
    /// Those of the changed ones that have another content.
    pub(super) rewritten: u64,
    /// For each archive of the backup, what its entries have in it.
    live_bytes: Vec<u64>,
}

/// What is counted of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted<'e> {
    pub(super) kind: EntryKind,
    pub(super) size: u64,
    pub(super) extents: &'e [Extent],
    pub(super) chunks: Option<&'e Extent>,
}

impl<'e> From<&'e Entry> for Counted<'e> {
    fn from(entry: &'e Entry) -> Self {
        let Entry { kind, size, extents, chunks, .. } = entry;
        Self { kind: *kind, size: *size, extents, chunks: chunks.as_ref() }
    }
}

impl Tally {
    /// Of a backup with so many archives.
    pub(super) fn new(archives: usize) -> Self {
        Self { live_bytes: vec![0; archives], ..Self::default() }
    }

    pub(super) fn count(&mut self, entry: Counted<'_>, change: Change) {
        let Counted { kind, size, extents, chunks } = entry;
        self.totals.count(kind, size);
        if kind.is_file_or_link() {
            *match change {
                Change::New => &mut self.changes.new,
                Change::Changed | Change::Touched => &mut self.changes.changed,
                Change::Moved => &mut self.changes.moved,
                Change::Unchanged => &mut self.changes.unchanged,
            } += 1;
            self.rewritten += u64::from(change == Change::Changed);
        }
        // The extents of a hard link are those of its file, which was counted.
        if kind == EntryKind::Hardlink {
            return;
        }
        if kind.has_content() && change != Change::Unchanged {
            self.changes.bytes_read = self.changes.bytes_read.saturating_add(size);
        }
        for Extent { archive, length, .. } in extents.iter().chain(chunks) {
            if let Some(live) = self.live_bytes.get_mut(*archive as usize) {
                *live = live.saturating_add(*length);
            }
        }
        let content = extents.iter().filter(|extent| extent.archive > 0);
        let referenced = content.fold(0_u64, |sum, extent| sum.saturating_add(extent.length));
        self.changes.bytes_referenced = self.changes.bytes_referenced.saturating_add(referenced);
    }

    /// What the entries have in an archive: content and chunk lists, in bytes. What several entries share is counted for
    /// each.
    pub(super) fn live_bytes(&self, archive: usize) -> u64 {
        self.live_bytes.get(archive).copied().unwrap_or_default()
    }
}
