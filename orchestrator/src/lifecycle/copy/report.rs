//! What a copy reports. Its serde form is what the program prints.

use intellistor_storage::catalog::layout::BackupName;
use serde::Serialize;

use crate::error::Category;
use crate::lifecycle::copy::outcome::Outcome;

/// A backup that is in the target now, and was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CopiedBackup {
    pub backup_id: String,
    pub timestamp: String,
    pub key: String,
    /// Bytes that were written for it; archives that other backups need, too, count with the first of them.
    pub bytes: u64,
}

/// A backup that was not copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UncopiedBackup {
    pub backup_id: String,
    pub timestamp: String,
    pub key: String,
    pub reason: String,
}

/// What became of each chosen backup.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CopyReport {
    pub policy: String,
    /// The URL of the store that was read.
    pub from: String,
    /// The URL of the store that was written to.
    pub to: String,
    /// Nothing was written: `copied`, `objects` and `bytes` say what would be.
    pub dry_run: bool,
    pub copied: Vec<CopiedBackup>,
    /// For which nothing had to be done.
    pub skipped: Vec<UncopiedBackup>,
    /// Left out, for reasons that a person must see.
    pub passed_over: Vec<UncopiedBackup>,
    /// Those that cannot be copied as they are: damaged, gone, or sealed with another key.
    pub failed: Vec<UncopiedBackup>,
    /// Whether a byte of one of those is not what was sealed.
    #[serde(skip)]
    pub is_damaged: bool,
    /// Whether all of them are sealed with another key.
    #[serde(skip)]
    pub is_of_another_key: bool,
    /// Objects that were written.
    pub objects: u64,
    /// Bytes that were written.
    pub bytes: u64,
    pub seconds: f64,
    pub warnings: Vec<String>,
}

impl CopyReport {
    /// Whether every chosen backup is in the target, or was forgotten there.
    pub fn is_complete(&self) -> bool {
        self.passed_over.is_empty() && self.failed.is_empty()
    }

    pub(super) fn add(&mut self, name: &BackupName, outcome: Outcome) {
        let BackupName { backup_id, timestamp, .. } = name.clone();
        let key = name.archive_key();
        let (list, reason) = match outcome {
            Outcome::Copied { bytes } => {
                tracing::info!(key, bytes, "backup copied");
                return self.copied.push(CopiedBackup { backup_id, timestamp, key, bytes });
            }
            Outcome::Skipped { reason } => {
                tracing::debug!(key, reason, "backup skipped");
                (&mut self.skipped, reason)
            }
            Outcome::PassedOver { reason } => {
                tracing::warn!(key, "backup not copied: {reason}");
                (&mut self.passed_over, reason)
            }
            Outcome::Failed { reason, cause } => {
                tracing::error!(key, "backup not copied: {reason}");
                self.is_damaged |= cause == Category::Integrity;
                self.is_of_another_key =
                    cause == Category::Configuration && (self.is_of_another_key || self.failed.is_empty());
                (&mut self.failed, reason)
            }
        };
        list.push(UncopiedBackup { backup_id, timestamp, key, reason });
    }
}
