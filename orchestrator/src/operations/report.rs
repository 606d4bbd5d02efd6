//! What operations report. The serde form of each is the JSON that the programs print, except that of a
//! [`BackupReport`], which a job keeps: [`BackupDocument`](super::backup_document::BackupDocument) is printed.

use std::path::{Path, PathBuf};

use intellistor_actors::shown::NameList;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::manifest::{BrakeRecord, Changes, Problem, RootRecord, SnapshotRecord, Totals};
use serde::{Deserialize, Serialize, Serializer};

use crate::lifecycle::outlook::RetentionOutlook;
use crate::operations::change_summary::change_summary;

/// A backup that was made, as the job that made it keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupReport {
    /// Names the backup.
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
    /// Wall time.
    pub seconds: f64,
    /// The first entries that were skipped or changed; `totals` counts all of them.
    pub problems: Vec<Problem>,
    /// What needs attention although the backup was made: a copy that is missing, a wrong clock, another key
    /// than the last backup's, a folder that is empty and was not. With any, a run ends with exit code 3.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What is worth knowing, and no reason to worry.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Alternate data streams that were found, and are not in the backup.
    #[serde(default)]
    pub streams_left_out: u64,
    /// The policy's folders, and how many files each held.
    #[serde(default)]
    pub roots: Vec<RootRecord>,
    /// Where files were read in snapshots, and where not, and why; empty where the policy wants none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotRecord>,
    /// The id of the backup that it is based on; `None` for a full one.
    #[serde(default)]
    pub base: Option<String>,
    /// How it differs from its base.
    #[serde(default)]
    pub changes: Changes,
    /// Until when none of its objects can be deleted or replaced; `None` where its policy has no `lock`, and where one of them
    /// is not locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<String>,
    /// Why retention rests since this backup or an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brake: Option<BrakeRecord>,
    /// What the policy's retention has left after it, and what goes next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionOutlook>,
    /// The trace that it was published in, where traces are on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl BackupReport {
    /// What changed since its base, in one line for a person; for a full backup, what it has.
    pub fn summary(&self) -> String {
        change_summary(&self.changes, self.totals.bytes)
    }

    /// Entries that were skipped or changed, and warnings.
    pub fn problem_count(&self) -> u64 {
        self.totals.skipped + self.totals.changed + self.warnings.len() as u64
    }

    /// Whether everything was backed up as it is, and copied where a copy was asked for: the only rule of what is complete,
    /// for the job's state, exit code 3 and metrics.
    pub fn is_complete(&self) -> bool {
        self.problem_count() == 0
    }
}

/// A [`BackupName`], member by member.
#[derive(Serialize)]
#[serde(remote = "BackupName")]
pub(crate) struct NameMembers {
    backup_id: String,
    timestamp: String,
    #[serde(rename = "policy")]
    policy_id: String,
}

/// Whether bytes are what was backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    /// All that was read is.
    Verified,
    /// Some entries are not.
    Failed,
}

/// What became of owners and access lists of Windows that a backup has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLists {
    /// They are those of the backup; a warning names each file where that is not so.
    Restored,
    /// They were to be left out.
    LeftOut,
    /// This system has none.
    Unsupported,
}

/// A backup that was restored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestoreReport {
    /// Names the backup.
    #[serde(flatten, with = "NameMembers")]
    pub name: BackupName,
    /// The folder that it was restored into; absent where it was restored in place.
    #[serde(serialize_with = "lossy_option", skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// The paths that it came from and was restored to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<PathBuf>,
    /// Entries that were selected.
    pub found: u64,
    /// Entries that are there as they were backed up.
    pub restored: u64,
    /// Of these, files and links that were there before, and were left alone.
    pub unchanged: u64,
    /// Files and links that took the place of others.
    pub overwritten: u64,
    /// Those of them that were modified later than what was backed up.
    pub overwritten_newer: NameList,
    /// Files and links that are not restored, since something has their name, and nothing was to be overwritten.
    pub left: NameList,
    /// `Failed` with any damaged entry.
    pub integrity: Integrity,
    /// Content of the files that were written, in bytes.
    pub bytes: u64,
    /// Bytes of archive that were fetched.
    pub fetched_bytes: u64,
    /// Wall time.
    pub seconds: f64,
    /// Selected entries that changed while they were backed up: their content may mix an older and a newer state.
    pub changed: u64,
    /// Alternate data streams that were selected, and that the file system has no place for; absent where there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub streams_left_out: u64,
    /// Absent where the backup has none, and for a restore from the archive alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_lists: Option<AccessLists>,
    /// Entries that could not be created, attributes that could not be applied, and entries that changed while they were
    /// backed up, with the reason; the first of each.
    pub warnings: Vec<String>,
    /// How many of the first two kinds there were.
    #[serde(skip)]
    pub warning_count: u64,
    /// The first entries whose bytes are not what was backed up; nothing of them was restored.
    pub damaged: Vec<String>,
    /// How many damaged entries there were.
    #[serde(skip)]
    pub damaged_count: u64,
    /// The trace that it was done in, where traces are on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl RestoreReport {
    /// Whether everything selected was restored, with all its attributes, or left as was asked for.
    pub fn is_complete(&self) -> bool {
        self.warning_count == 0 && self.restored + self.left.count() + self.streams_left_out >= self.found
    }
}

/// A backup whose every byte was verified.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyReport {
    /// Names the backup.
    #[serde(flatten, with = "NameMembers")]
    pub name: BackupName,
    /// Always `Verified`: anything else is an error.
    pub integrity: Integrity,
    /// Entries in its manifest.
    pub entries: u64,
    /// Bytes of content whose SHA-256 was computed and agrees.
    pub bytes: u64,
    /// Size of all archives.
    pub archive_bytes: u64,
    /// Each archive that was read: its own first, then those of earlier backups that it depends on.
    pub archives: Vec<VerifiedArchive>,
    /// Of its own archive: SHA-256 over the segments' SHA-256 digests, in hex.
    pub archive_sha256: String,
    /// Segments in all archives.
    pub segments: u32,
    /// Frames in all archives.
    pub frames: u64,
    /// Wall time.
    pub seconds: f64,
    /// Entries that were skipped when it was made.
    pub skipped: u64,
    /// Entries that changed while they were backed up: their content may mix an older and a newer state.
    pub changed: u64,
    /// The first entries that changed, with the reason.
    pub warnings: Vec<String>,
    /// Until when all of its objects, and the archives that it depends on, can neither be deleted nor replaced: the earliest
    /// end of their locks. `None` where one of them is not locked.
    pub locked_until: Option<String>,
    /// The trace that it was done in, where traces are on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// An archive whose every byte was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedArchive {
    pub key: String,
    pub bytes: u64,
    pub segments: u32,
    pub frames: u64,
    /// Entries that were checked while it was read; others have content elsewhere, or in another order.
    pub entries: u64,
    /// Their content in bytes.
    #[serde(skip)]
    pub content_bytes: u64,
}

/// What [`decrypt`](crate::decrypt) wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DecryptReport {
    /// Bytes of `tar.gz`.
    #[serde(rename = "bytes")]
    pub bytes_written: u64,
    /// Gzip members that it consists of.
    pub frames: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
pub(crate) fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A path as text: JSON has no other.
pub(crate) fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

pub(crate) fn lossy_option<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.to_string_lossy()).serialize(serializer)
}

/// The listed items, and how many more there are.
pub(crate) fn with_rest(mut listed: Vec<String>, count: u64) -> Vec<String> {
    let more = count.saturating_sub(listed.len() as u64);
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    listed
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
        Self { bytes: totals.bytes, files: totals.files, problems: report.problem_count() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_is_counted() {
        let listed = vec!["a0".to_owned()];
        assert_eq!(with_rest(listed.clone(), 2), ["a0", "and 1 more"]);
        assert_eq!(with_rest(listed, 1), ["a0"]);
        assert!(with_rest(Vec::new(), 0).is_empty());
    }

    #[test]
    fn a_restore_is_reported_member_by_member() {
        let report = RestoreReport {
            name: BackupName {
                policy_id: "p".to_owned(),
                timestamp: "20261123T020000Z".to_owned(),
                backup_id: "b".to_owned(),
            },
            out: Some("out".into()),
            places: Vec::new(),
            found: 2,
            restored: 1,
            unchanged: 0,
            overwritten: 1,
            overwritten_newer: NameList::default(),
            left: NameList::default(),
            integrity: Integrity::Failed,
            bytes: 3,
            fetched_bytes: 4,
            seconds: 0.5,
            streams_left_out: 0,
            access_lists: None,
            changed: 0,
            warnings: vec!["w".to_owned()],
            warning_count: 1,
            damaged: vec!["d".to_owned()],
            damaged_count: 1,
            trace_id: None,
        };
        assert!(!report.is_complete());
        let expected = serde_json::json!({
            "backup_id": "b", "timestamp": "20261123T020000Z", "policy": "p", "out": "out", "found": 2, "restored": 1,
            "unchanged": 0, "overwritten": 1, "overwritten_newer": { "count": 0, "first": [] },
            "left": { "count": 0, "first": [] }, "integrity": "failed", "bytes": 3, "fetched_bytes": 4, "seconds": 0.5, "changed": 0, "warnings": ["w"],
            "damaged": ["d"],
        });
        assert_eq!(serde_json::to_value(&report).unwrap(), expected);
    }
}
