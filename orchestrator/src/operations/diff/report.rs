//! What `diff` reports: exact sums, and the first differences of each kind by name.

use std::collections::BTreeMap;

use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::manifest::{Entry, EntryKind, VerifiedManifest};
use serde::Serialize;

use crate::operations::named_backup::NamedBackup;

/// Folders of which sums are kept; more of them are summed up as one.
const MOST_FOLDERS: usize = 4096;
/// Folders that are listed.
const LISTED_FOLDERS: usize = 20;

/// What is compared.
#[derive(Debug, Clone, Default)]
pub struct DiffOptions {
    /// Globs on `relative_path`; all of it where there is none.
    pub only: Vec<String>,
    /// The most entries that each list has.
    pub limit: usize,
}

/// Its serde form is the JSON that `diff` prints.
#[derive(Debug, Serialize)]
pub struct DiffReport {
    pub policy: String,
    /// The store's URL.
    pub store: String,
    pub from: DiffSide,
    pub to: DiffSide,
    /// Exact, whatever the lists leave out.
    pub totals: DiffTotals,
    /// The most entries that each of the lists has.
    pub limit: usize,
    /// Differences that are counted and not listed.
    pub left_out: u64,
    /// Where most bytes differ, the folders directly below the roots.
    pub folders: Vec<FolderDiff>,
    pub added: Vec<DiffEntry>,
    pub removed: Vec<DiffEntry>,
    pub changed: Vec<ChangedEntry>,
    pub metadata: Vec<MetadataEntry>,
    pub moved: Vec<MovedEntry>,
    /// Patterns that matched nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One of the two backups.
#[derive(Debug, Serialize)]
pub struct DiffSide {
    #[serde(flatten)]
    pub backup: NamedBackup,
    pub host: String,
    pub files: u64,
    /// Content in bytes.
    pub bytes: u64,
}

/// How many entries differ, and by how many bytes of content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DiffTotals {
    pub added: DiffSum,
    pub removed: DiffSum,
    /// The bytes are those of the newer content.
    pub changed: DiffSum,
    pub metadata: DiffSum,
    pub moved: DiffSum,
    pub unchanged: DiffSum,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DiffSum {
    pub entries: u64,
    pub bytes: u64,
}

impl DiffSum {
    fn count(&mut self, entry: &Entry) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(content(entry));
    }
}

impl DiffTotals {
    /// Whether the backups have the same.
    pub fn is_same(&self) -> bool {
        let Self { added, removed, changed, metadata, moved, unchanged: _ } = self;
        [added, removed, changed, metadata, moved].iter().all(|sum| sum.entries == 0)
    }
}

/// What only one of the backups has.
#[derive(Debug, Serialize)]
pub struct DiffEntry {
    pub relative_path: String,
    pub kind: EntryKind,
    pub size: u64,
}

/// What has another content.
#[derive(Debug, Serialize)]
pub struct ChangedEntry {
    pub relative_path: String,
    pub kind: EntryKind,
    pub size: u64,
    pub size_before: u64,
    /// Present where it was something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind_before: Option<EntryKind>,
}

/// What has other metadata alone.
#[derive(Debug, Serialize)]
pub struct MetadataEntry {
    pub relative_path: String,
    pub kind: EntryKind,
    /// `mode`, `owner`, `attributes`, `xattrs`, `access list`, `mtime`.
    pub differs: Vec<&'static str>,
}

/// What has another path alone.
#[derive(Debug, Default, Serialize)]
pub struct MovedEntry {
    pub from: String,
    pub relative_path: String,
    pub size: u64,
}

/// Sums of a folder and all below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FolderDiff {
    /// `.` for what is directly in the root.
    pub folder: String,
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    pub metadata: u64,
    pub moved: u64,
    pub bytes_added: u64,
    pub bytes_removed: u64,
    pub bytes_changed: u64,
}

impl DiffReport {
    pub(super) fn of(
        from: &BackupName,
        older: &VerifiedManifest,
        to: &BackupName,
        newer: &VerifiedManifest,
        store: String,
        options: &DiffOptions,
    ) -> Self {
        let side = |name: &BackupName, manifest: &VerifiedManifest| DiffSide {
            backup: name.into(),
            host: manifest.head().origin.host.clone(),
            files: manifest.head().totals.files,
            bytes: manifest.head().totals.bytes,
        };
        Self {
            policy: to.policy_id.clone(),
            store,
            from: side(from, older),
            to: side(to, newer),
            totals: DiffTotals::default(),
            limit: options.limit,
            left_out: 0,
            folders: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
            metadata: Vec::new(),
            moved: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// The lists while they are filled.
pub(super) struct Lists {
    limit: usize,
    totals: DiffTotals,
    added: Vec<DiffEntry>,
    removed: Vec<DiffEntry>,
    changed: Vec<ChangedEntry>,
    metadata: Vec<MetadataEntry>,
    moved: BTreeMap<usize, MovedEntry>,
}

impl Lists {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            totals: DiffTotals::default(),
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
            metadata: Vec::new(),
            moved: BTreeMap::new(),
        }
    }

    pub(super) fn unchanged(&mut self, entry: &Entry) {
        self.totals.unchanged.count(entry);
    }

    pub(super) fn added(&mut self, entry: &Entry) {
        self.totals.added.count(entry);
        if self.added.len() < self.limit {
            self.added.push(entry.into());
        }
    }

    pub(super) fn removed(&mut self, entry: &Entry) {
        self.totals.removed.count(entry);
        if self.removed.len() < self.limit {
            self.removed.push(entry.into());
        }
    }

    pub(super) fn changed(&mut self, before: &Entry, after: &Entry) {
        self.totals.changed.count(after);
        if self.changed.len() < self.limit {
            self.changed.push(ChangedEntry {
                relative_path: after.relative_path.clone(),
                kind: after.kind,
                size: after.size,
                size_before: before.size,
                kind_before: (before.kind != after.kind).then_some(before.kind),
            });
        }
    }

    pub(super) fn metadata(&mut self, entry: &Entry, differs: Vec<&'static str>) {
        self.totals.metadata.count(entry);
        if self.metadata.len() < self.limit {
            let (relative_path, kind) = (entry.relative_path.clone(), entry.kind);
            self.metadata.push(MetadataEntry { relative_path, kind, differs });
        }
    }

    /// `listed` is the number of its pair, where that is listed.
    pub(super) fn moved_from(&mut self, listed: Option<usize>, entry: &Entry) {
        if let Some(at) = listed {
            self.moved.entry(at).or_default().from.clone_from(&entry.relative_path);
        }
    }

    pub(super) fn moved_to(&mut self, listed: Option<usize>, entry: &Entry) {
        self.totals.moved.count(entry);
        if let Some(at) = listed {
            let moved = self.moved.entry(at).or_default();
            moved.relative_path.clone_from(&entry.relative_path);
            moved.size = entry.size;
        }
    }

    pub(super) fn finish(self, report: &mut DiffReport) {
        let Self { limit: _, totals, added, removed, changed, metadata, moved } = self;
        let DiffTotals { added: a, removed: r, changed: c, metadata: m, moved: v, unchanged: _ } = totals;
        let all: u64 = [a, r, c, m, v].iter().map(|sum| sum.entries).sum();
        let listed = added.len() + removed.len() + changed.len() + metadata.len() + moved.len();
        report.left_out = all.saturating_sub(listed as u64);
        report.totals = totals;
        report.added = added;
        report.removed = removed;
        report.changed = changed;
        report.metadata = metadata;
        report.moved = moved.into_values().collect();
    }
}

impl From<&Entry> for DiffEntry {
    fn from(entry: &Entry) -> Self {
        Self { relative_path: entry.relative_path.clone(), kind: entry.kind, size: entry.size }
    }
}

/// Sums by folder.
#[derive(Default)]
pub(super) struct Folders(BTreeMap<String, FolderDiff>);

impl Folders {
    pub(super) fn add(&mut self, path: &str, count: impl FnOnce(&mut FolderDiff)) {
        let name = path.split_once('/').map_or(".", |(folder, _)| folder);
        let name = if self.0.len() < MOST_FOLDERS || self.0.contains_key(name) { name } else { "..." };
        let folder = self.0.entry(name.to_owned()).or_default();
        count(folder);
    }

    /// Those with the most bytes first, then those with the most entries.
    pub(super) fn largest(self) -> Vec<FolderDiff> {
        let mut folders: Vec<_> =
            self.0.into_iter().map(|(folder, sums)| FolderDiff { folder, ..sums }).collect();
        folders.sort_by_key(|folder| {
            let FolderDiff { bytes_added, bytes_removed, bytes_changed, .. } = folder;
            let bytes = bytes_added.saturating_add(*bytes_removed).saturating_add(*bytes_changed);
            let entries = folder.added + folder.removed + folder.changed + folder.metadata + folder.moved;
            std::cmp::Reverse((bytes, entries))
        });
        folders.truncate(LISTED_FOLDERS);
        folders
    }
}

/// Bytes that an entry has of its own: another name of a file has none.
pub(super) fn content(entry: &Entry) -> u64 {
    if entry.kind.has_content() { entry.size } else { 0 }
}
