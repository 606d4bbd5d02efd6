//! What a manifest says besides its entries.

use serde::{Deserialize, Serialize};

use super::entry::EntryKind;
use crate::archive::segment::SegmentRecord;
use crate::catalog::layout::BackupName;

/// What a manifest says besides its entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// What names the backup.
    #[serde(flatten)]
    pub name: BackupName,
    /// Where and by what the backup was made.
    #[serde(flatten)]
    pub origin: Origin,
    /// When the walk began by this machine's clock, in milliseconds since 1970 UTC. Files that changed later, or right
    /// before, are read again next time.
    #[serde(default)]
    pub began_ms: i64,
    /// The backup whose entries it took over; absent for a full backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseRecord>,
    /// Why retention rests since this backup or an earlier one of its chain: too much was missing or changed at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brake: Option<BrakeRecord>,
    /// The folders that the policy named.
    pub roots: Vec<RootRecord>,
    /// Where files were read in snapshots, and where not, and why; empty where the policy wants none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotRecord>,
    /// Sums over the entries.
    pub totals: Totals,
    /// How it differs from its base.
    #[serde(default)]
    pub changes: Changes,
    /// The chain's [`ContentKey`](crate::keys::ContentKey), sealed under the backup's data key.
    #[serde(default, with = "crate::text::base64_option", skip_serializing_if = "Option::is_none")]
    pub content_key: Option<Vec<u8>>,
    /// Archives that entries point into, at most [`MOST_ARCHIVES`]; the first is this backup's own.
    #[serde(default)]
    pub archives: Vec<ArchiveRecord>,
    /// Where entries, problems and notes are, if they are sealed; else they are in the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries_enc: Option<SealedListsRecord>,
}

/// The archives that a manifest may name, its own included.
pub const MOST_ARCHIVES: usize = 32;

/// The sealed lists of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedListsRecord {
    /// Their key in the store.
    pub key: String,
    /// Their size in bytes.
    pub bytes: u64,
    /// SHA-256 of these bytes.
    #[serde(with = "crate::text::hex_digest")]
    pub sha256: [u8; 32],
}

/// The backup that another one took entries over from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseRecord {
    pub backup_id: String,
    /// SHA-256 of its `manifest.json`.
    #[serde(with = "crate::text::hex_digest")]
    pub manifest_sha256: [u8; 32],
    /// Timestamp of the full backup that the chain began with.
    pub full: String,
}

/// How a backup differs from its base; without one, everything is new. Files and links are counted, and no folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Taken over as they are.
    pub unchanged: u64,
    /// With another content or other metadata than in the base.
    pub changed: u64,
    /// Under a path that the base does not have.
    pub new: u64,
    /// Under a new path, with a content that the base has under a path that is gone.
    pub moved: u64,
    /// In the base, and no longer there.
    pub deleted: u64,
    /// Content of the files that were read and are new, changed or moved, in bytes.
    pub bytes_read: u64,
    /// Size of the archive in bytes.
    pub bytes_stored: u64,
    /// Content in the archives of earlier backups, in bytes.
    pub bytes_referenced: u64,
}

/// Where and by what a backup was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The machine's name.
    pub host: String,
    /// The machine's id, as in [`Owner`](crate::catalog::ownership::Owner).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// `linux`, `windows`, ...
    pub os: String,
    /// Program and version.
    pub tool: String,
    /// The trace of the run, where traces were on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// Why retention rests: good backups must not age out while a disk is not mounted, or a ransom note waits to be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrakeRecord {
    /// Timestamp of the backup that was the first with it.
    pub since: String,
    /// The reason, for people.
    pub why: String,
    /// Files and links that the backup before it had, where fewer than half of so many were left: with half of them again,
    /// that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_before: Option<u64>,
    /// Paths of the policy's folders that were empty, or missing, and had not been: with files again, that is over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empty_roots: Vec<String>,
    /// Whether most files were changed, or replaced by others: that is over 30 days later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
}

/// A folder that the policy named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootRecord {
    /// As on the machine that was backed up.
    pub path: String,
    /// What its entries' `relative_path` begins with; empty when it is the only root.
    pub prefix: String,
    /// Files and links that were found below it; absent where it was not walked to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

/// What was read in a snapshot, or not: one volume, or one path without one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// Where it is mounted, or the path as the policy has it.
    pub volume: String,
    /// Whether its files were read in a snapshot.
    pub used: bool,
    /// Why not, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The call that failed, by its name in Microsoft's documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// What it returned: an `HRESULT`, as `0x8004231F`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The snapshot's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The id of the set that it was made with: all snapshots of a set are of one moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// When it was made, as RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Writers whose files are in the snapshot as after a power cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writers: Vec<WriterRecord>,
}

/// A VSS writer that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterRecord {
    pub name: String,
    /// When it failed, in words.
    pub state: String,
    /// As that of a [`SnapshotRecord`].
    pub code: String,
}

/// An archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    /// The backup that made it.
    #[serde(default)]
    pub backup_id: String,
    /// Its key in the store.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// [`archive_digest`](crate::archive::segment::archive_digest) of its segments.
    #[serde(with = "crate::text::hex_digest")]
    pub sha256: [u8; 32],
    /// What this backup's entries have in it: content and chunk lists, in bytes. What several entries share is counted
    /// for each.
    #[serde(default)]
    pub live_bytes: u64,
    /// What `live_bytes` was in the manifest of the backup that made it: the difference is dead.
    #[serde(default)]
    pub content_bytes: u64,
    /// Another backup's: its [header](crate::archive::Header).
    #[serde(default, with = "crate::text::base64_option", skip_serializing_if = "Option::is_none")]
    pub header: Option<Vec<u8>>,
    /// Another backup's: its data key, sealed under this backup's.
    #[serde(default, with = "crate::text::base64_option", skip_serializing_if = "Option::is_none")]
    pub data_key: Option<Vec<u8>>,
    /// Its segments and their frames.
    pub segments: Vec<SegmentRecord>,
}

/// Sums over the entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Entries of every kind.
    pub entries: u64,
    /// Regular files, hard links included.
    pub files: u64,
    /// Folders.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Alternate data streams of Windows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub streams: u64,
    /// Content in bytes, holes included, each hard-linked file once.
    pub bytes: u64,
    /// Entries that are not in the backup.
    pub skipped: u64,
    /// Entries that changed while they were read.
    pub changed: u64,
    /// What was left out without harm.
    #[serde(default)]
    pub notes: u64,
}

impl Totals {
    pub(super) fn count(&mut self, kind: EntryKind, size: u64) {
        self.entries += 1;
        match kind {
            EntryKind::File => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(size);
            }
            EntryKind::Hardlink => self.files += 1,
            EntryKind::Directory => self.directories += 1,
            EntryKind::Symlink => self.symlinks += 1,
            EntryKind::Stream => {
                self.streams += 1;
                self.bytes = self.bytes.saturating_add(size);
            }
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
