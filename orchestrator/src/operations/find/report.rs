//! What `find` reports.

use intellistor_storage::manifest::EntryKind;
use serde::Serialize;

use crate::operations::named_backup::NamedBackup;
use crate::operations::unread::UnreadBackup;

/// Contents of all paths that are listed.
pub(crate) const MOST_VERSIONS: usize = 100_000;

/// Its serde form is the JSON that `find` prints, but for the command that restores the newest match.
#[derive(Debug, Serialize)]
pub struct FindReport {
    pub policy: String,
    /// The store's URL.
    pub store: String,
    /// Backups whose manifest was read.
    pub searched: u64,
    /// Entries that match, in all of them.
    pub matches: u64,
    /// Those of them that `files` does not stand for.
    pub left_out: u64,
    /// By the newest backup that has them, then by path.
    pub files: Vec<FoundFile>,
    /// Backups whose manifest could not be read.
    pub unread: Vec<UnreadBackup>,
    /// Patterns that matched nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A path that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundFile {
    pub relative_path: String,
    /// Newest first.
    pub versions: Vec<FoundVersion>,
}

/// A content of a path, and backups that have it, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundVersion {
    /// The same number within a path is the same content: 1 is the newest.
    pub content: u32,
    /// Whether it differs from the next older one of the path.
    pub changed: bool,
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// As the newest of the backups has it, in RFC 3339.
    pub mtime: String,
    /// In hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How many backups have it.
    pub backups: u64,
    pub newest: NamedBackup,
    pub oldest: NamedBackup,
}

impl FindReport {
    /// The newest backup that has a match, and the path.
    pub fn newest_match(&self) -> Option<(&NamedBackup, &str)> {
        let file = self.files.first()?;
        Some((&file.versions.first()?.newest, &file.relative_path))
    }
}
