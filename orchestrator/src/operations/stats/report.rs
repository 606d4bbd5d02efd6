//! What `stats` reports.

use serde::Serialize;

use crate::operations::named_backup::NamedBackup;
use crate::operations::unread::UnreadBackup;

/// Its serde form is the JSON that `stats` prints.
#[derive(Debug, Serialize)]
pub struct StatsReport {
    pub policy: String,
    /// The store's URL.
    pub store: String,
    pub totals: StatsTotals,
    /// Oldest first.
    pub backups: Vec<BackupStats>,
    /// Oldest first, in UTC.
    pub months: Vec<MonthStats>,
    /// The newest backup, which `folders` are of.
    pub newest: NamedBackup,
    pub depth: usize,
    /// Largest first, with all that is below each.
    pub folders: Vec<FolderStats>,
    /// Backups whose manifest could not be read: unique bytes of others may be fewer, since it may need them, too.
    pub unread: Vec<UnreadBackup>,
}

/// All backups together. Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct StatsTotals {
    /// Those that are listed.
    pub backups: u64,
    /// What they would restore, each on its own.
    pub content_bytes: u64,
    /// What the listed backups need in the store, manifests included.
    pub stored_bytes: u64,
    /// What only forgotten backups need.
    pub forgotten_bytes: u64,
    /// Archives without a manifest.
    pub orphan_bytes: u64,
    /// `content_bytes` for each of `stored_bytes`: what deduplication and compression save together.
    pub reduction: f64,
    /// What the archives have before compression, for each byte that they take: a file with several names or copies in one backup
    /// is counted for each.
    pub compression: f64,
}

/// One backup. Bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupStats {
    #[serde(flatten)]
    pub backup: NamedBackup,
    /// Whether it depends on no earlier backup.
    pub full: bool,
    pub files: u64,
    /// What it would restore.
    pub content_bytes: u64,
    /// What it has added: its archive and its manifest.
    pub stored_bytes: u64,
    /// Its content in the archives of earlier backups.
    pub referenced_bytes: u64,
    /// Archives that it needs, its own included.
    pub archives: u64,
    /// What would be freed if it alone were forgotten.
    pub unique_bytes: u64,
    /// Archives that others need, too.
    pub shared_bytes: u64,
}

/// The backups of a month that are still listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MonthStats {
    /// `2026-11`.
    pub month: String,
    pub backups: u64,
    /// What they have added.
    pub stored_bytes: u64,
    /// What these and all earlier ones have.
    pub stored_bytes_so_far: u64,
    /// What the last of them would restore.
    pub content_bytes: u64,
}

/// A folder of the newest backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FolderStats {
    pub folder: String,
    pub files: u64,
    pub bytes: u64,
}
