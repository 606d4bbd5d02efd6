//! A backup as reports name it.

use intellistor_storage::catalog::layout::BackupName;
use serde::Serialize;

/// What `--key` takes of it, and when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedBackup {
    pub backup_id: String,
    pub timestamp: String,
    /// The archive's key.
    pub key: String,
}

impl From<&BackupName> for NamedBackup {
    fn from(name: &BackupName) -> Self {
        Self { backup_id: name.backup_id.clone(), timestamp: name.timestamp.clone(), key: name.archive_key() }
    }
}
