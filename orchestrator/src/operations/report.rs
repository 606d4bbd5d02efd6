//! What operations report. Every report is plain data, which serde knows.

use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::manifest::{Problem, RootRecord, Totals};
use serde::{Deserialize, Serialize};

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupReport {
    /// What names it.
    pub name: BackupName,
    /// The store's URL.
    pub store: String,
    /// The archive's key.
    pub key_backup: String,
    /// The manifest's key.
    pub key_manifest: String,
    /// Sums over the entries.
    pub totals: Totals,
    /// Size of the archive.
    pub archive_bytes: u64,
    /// Size of the manifest.
    pub manifest_bytes: u64,
    /// Parts sent.
    pub parts: u32,
    /// SHA-256 over the parts' SHA-256 digests, in hex.
    pub archive_sha256: String,
    /// How long it took.
    pub seconds: f64,
    /// The first entries that were skipped or changed; `totals` counts all of them.
    pub problems: Vec<Problem>,
    /// What a person should see to, although the backup was made: a copy that is missing, a wrong clock, another key
    /// than the last backup's, a folder that is empty and was not. With any, a run ends with exit code 3.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What is worth knowing, and no reason to worry.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The policy's folders, and how many files each held.
    #[serde(default)]
    pub roots: Vec<RootRecord>,
    /// The trace that it was published in, where traces are on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl BackupReport {
    /// Whether all was backed up as it is, and copied wherever a copy was asked for.
    pub fn is_complete(&self) -> bool {
        self.totals.skipped == 0 && self.totals.changed == 0 && self.warnings.is_empty()
    }
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestoreReport {
    /// The backup.
    pub name: BackupName,
    /// Entries that were selected.
    pub found: u64,
    /// Entries that were restored.
    pub restored: u64,
    /// Content of the restored files in bytes.
    pub bytes: u64,
    /// Bytes of archive that were fetched.
    pub fetched_bytes: u64,
    /// The first entries that could not be made, and attributes that could not be applied, with the reason.
    pub warnings: Vec<String>,
    /// How many warnings there were.
    pub warning_count: u64,
    /// The first entries whose bytes are not what was backed up; nothing of them was restored.
    pub damaged: Vec<String>,
    /// How many damaged entries there were.
    pub damaged_count: u64,
    /// The first of the selected entries that changed while they were backed up, with the reason: they are as they were
    /// read, which need not be as they ever were.
    pub changed: Vec<String>,
    /// How many changed entries there were.
    pub changed_count: u64,
    /// How long it took.
    pub seconds: f64,
    /// The trace that it was done in, where traces are on.
    pub trace_id: Option<String>,
}

/// A backup that is whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyReport {
    /// The backup.
    pub name: BackupName,
    /// Entries in its manifest.
    pub entries: u64,
    /// Bytes of content whose SHA-256 was computed and found right.
    pub bytes: u64,
    /// Bytes of archive that were read.
    pub archive_bytes: u64,
    /// Segments in the archive.
    pub segments: u32,
    /// Frames in the archive.
    pub frames: u64,
    /// SHA-256 over the segments' SHA-256 digests, in hex.
    pub archive_sha256: String,
    /// The first entries that changed while they were backed up, with the reason: they are as they were read, which need not
    /// be as they ever were.
    pub changed: Vec<String>,
    /// How many changed entries there are.
    pub changed_count: u64,
    /// Entries that were skipped.
    pub skipped: u64,
    /// How long it took.
    pub seconds: f64,
    /// The trace that it was done in, where traces are on.
    pub trace_id: Option<String>,
}

/// What [`decrypt`](crate::decrypt) wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DecryptReport {
    /// Bytes of `tar.gz`.
    pub bytes_written: u64,
    /// Frames.
    pub frames: u64,
}

/// What an operation adds to the sums.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    pub(crate) problems: u64,
}

impl From<&BackupReport> for Sums {
    fn from(report: &BackupReport) -> Self {
        let totals = report.totals;
        let problems = totals.skipped + totals.changed + report.warnings.len() as u64;
        Self { bytes: totals.bytes, files: totals.files, problems }
    }
}

impl From<&RestoreReport> for Sums {
    fn from(report: &RestoreReport) -> Self {
        let problems = report.warning_count + report.damaged_count;
        Self { bytes: report.bytes, files: report.restored, problems }
    }
}

impl From<&VerifyReport> for Sums {
    fn from(report: &VerifyReport) -> Self {
        Self { bytes: report.bytes, files: report.entries, problems: 0 }
    }
}

impl From<&DecryptReport> for Sums {
    fn from(report: &DecryptReport) -> Self {
        Self { bytes: report.bytes_written, ..Self::default() }
    }
}
