//! What a sweep has done, or would do.

use chrono::{DateTime, SecondsFormat, Utc};
use intellistor_storage::catalog::contents::Contents;
use intellistor_storage::catalog::layout::BackupName;
use serde::{Serialize, Serializer};

/// Its serde form is the JSON that `prune` prints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SweepReport {
    /// The policy's id.
    pub policy: String,
    /// The store's URL.
    pub store: String,
    /// Nothing was done: this is what would be.
    pub dry_run: bool,
    /// Backups of which nothing is left, oldest first.
    pub deleted: Vec<SweptBackup>,
    /// Backups that are gone, too, but their archives stay, since others need them.
    pub archive_kept: Vec<ArchiveKept>,
    /// Forgotten ones whose time has not come.
    pub waiting: Vec<WaitingBackup>,
    /// Forgotten ones of which something stays although their time has come.
    pub kept: Vec<UnsweptBackup>,
    /// Also of backups of which something stays.
    pub bytes_freed: u64,
    /// Objects among the policy's backups that are no object of a backup. They are left alone.
    pub unknown_objects: u64,
    /// For people; the log has them already.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SweptBackup {
    pub backup_id: String,
    pub timestamp: String,
    /// Its archive's key.
    pub key: String,
    /// Freed now: an earlier sweep may have freed more.
    pub bytes: u64,
}

/// A backup that cannot be restored any more, although its archive is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArchiveKept {
    pub backup_id: String,
    pub timestamp: String,
    /// Its archive's key.
    pub key: String,
    /// Freed now.
    pub bytes: u64,
    /// Who needs the archive, for people.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingBackup {
    pub backup_id: String,
    pub timestamp: String,
    /// Its archive's key.
    pub key: String,
    /// By the store's clock.
    #[serde(serialize_with = "rfc3339")]
    pub prunable_from: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnsweptBackup {
    pub backup_id: String,
    pub timestamp: String,
    /// Its archive's key.
    pub key: String,
    /// What keeps it, for people.
    pub reason: String,
}

impl SweepReport {
    pub(super) fn new(policy_id: &str, store: String, dry_run: bool) -> Self {
        Self { policy: policy_id.to_owned(), store, dry_run, ..Self::default() }
    }

    pub(super) fn tell_unknown(&mut self, contents: &Contents) {
        let (objects, first) = contents.unknown();
        self.unknown_objects = objects;
        if let Some(first) = first {
            self.warn(format!(
                "{objects} object{} among the backups {} none of this program's, such as {first:?}: left alone",
                if objects == 1 { "" } else { "s" },
                if objects == 1 { "is" } else { "are" },
            ));
        }
    }

    pub(super) fn warn(&mut self, warning: String) {
        tracing::warn!("{warning}");
        self.warnings.push(warning);
    }

    pub(super) fn wait(&mut self, name: &BackupName, prunable_from: DateTime<Utc>) {
        let key = name.archive_key();
        let BackupName { backup_id, timestamp, .. } = name.clone();
        self.waiting.push(WaitingBackup { backup_id, timestamp, key, prunable_from });
    }

    pub(super) fn keep(&mut self, name: &BackupName, reason: String) {
        let key = name.archive_key();
        let BackupName { backup_id, timestamp, .. } = name.clone();
        tracing::info!(backup_id, timestamp, reason, "a forgotten backup stays, or part of it");
        self.kept.push(UnsweptBackup { backup_id, timestamp, key, reason });
    }

    pub(super) fn delete_manifest(&mut self, name: &BackupName, bytes: u64, reason: String) {
        let key = name.archive_key();
        let BackupName { backup_id, timestamp, .. } = name.clone();
        if !self.dry_run {
            tracing::info!(
                backup_id,
                timestamp,
                key,
                bytes,
                reason,
                "deleted a forgotten backup, but for its archive"
            );
        }
        self.archive_kept.push(ArchiveKept { backup_id, timestamp, key, bytes, reason });
    }

    pub(super) fn delete(&mut self, name: &BackupName, bytes: u64) {
        let BackupName { backup_id, timestamp, .. } = name.clone();
        let key = name.archive_key();
        if !self.dry_run {
            tracing::info!(backup_id, timestamp, key, bytes, "deleted a forgotten backup");
        }
        self.deleted.push(SweptBackup { backup_id, timestamp, key, bytes });
    }
}

fn rfc3339<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Secs, true))
}
