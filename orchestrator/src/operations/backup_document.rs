//! A backup as the programs print it.

use intellistor_storage::manifest::{Changes, Problem, ProblemKind, SnapshotRecord};
use intellistor_storage::objects::StoreUrl;
use serde::Serialize;

use crate::operations::report::{BackupReport, is_zero};

/// Its serde form is the JSON that `backup` prints; `agent run` prints more.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackupDocument {
    backup_id: String,
    timestamp: String,
    policy: String,
    store: String,
    s3: StoredKeys,
    cli_restore: String,
    /// The same for PowerShell, where that is another line.
    #[serde(skip_serializing_if = "Option::is_none")]
    cli_restore_powershell: Option<String>,
    files: u64,
    directories: u64,
    symlinks: u64,
    /// Alternate data streams that are in the backup, and those that were found and left out; absent where there are none.
    #[serde(skip_serializing_if = "is_zero")]
    streams: u64,
    #[serde(skip_serializing_if = "is_zero")]
    streams_left_out: u64,
    bytes: u64,
    archive_bytes: u64,
    archive_sha256: String,
    manifest_bytes: u64,
    /// The id of the backup that it is based on.
    base: Option<String>,
    changes: Changes,
    parts: u32,
    seconds: f64,
    skipped: u64,
    changed: u64,
    /// Entries without content, such as sockets.
    notes: u64,
    /// Only where the policy wants snapshots.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    snapshots: Vec<SnapshotRecord>,
    /// Only where the policy has `lock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_until: Option<String>,
    pub(crate) warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
}

/// A command that restores a backup, to be pasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreLines {
    /// For the shell of this system; on Windows `cmd`.
    pub line: String,
    /// For PowerShell, where `line` does not work in it.
    pub powershell: Option<String>,
}

impl From<String> for RestoreLines {
    fn from(line: String) -> Self {
        Self { line, powershell: None }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct StoredKeys {
    /// `None` where the store is a folder.
    bucket: Option<String>,
    key_backup: String,
    key_manifest: String,
}

impl BackupReport {
    /// The report as the programs print it. `cli_restore` is the command that restores this backup.
    pub fn document(&self, cli_restore: impl Into<RestoreLines>) -> BackupDocument {
        let RestoreLines { line, powershell } = cli_restore.into();
        let Self { name, totals, .. } = self.clone();
        let bucket = match StoreUrl::parse(&self.store) {
            Ok(StoreUrl::S3 { bucket, .. }) => Some(bucket),
            _ => None,
        };
        BackupDocument {
            backup_id: name.backup_id,
            timestamp: name.timestamp,
            policy: name.policy_id,
            store: self.store.clone(),
            s3: StoredKeys {
                bucket,
                key_backup: self.key_backup.clone(),
                key_manifest: self.key_manifest.clone(),
            },
            cli_restore: line,
            cli_restore_powershell: powershell,
            files: totals.files,
            directories: totals.directories,
            symlinks: totals.symlinks,
            streams: totals.streams,
            streams_left_out: self.streams_left_out,
            bytes: totals.bytes,
            archive_bytes: self.archive_bytes,
            archive_sha256: self.archive_sha256.clone(),
            manifest_bytes: self.manifest_bytes,
            base: self.base.clone(),
            changes: self.changes,
            parts: self.parts,
            seconds: self.seconds,
            skipped: totals.skipped,
            changed: totals.changed,
            notes: totals.notes,
            snapshots: self.snapshots.clone(),
            locked_until: self.locked_until.clone(),
            warnings: self.all_warnings(),
            trace_id: self.trace_id.clone(),
        }
    }

    /// Notes, entries that were skipped or changed, and warnings.
    fn all_warnings(&self) -> Vec<String> {
        let mut all = self.notes.clone();
        all.extend(self.problems.iter().map(problem_line));
        let more = (self.totals.skipped + self.totals.changed).saturating_sub(self.problems.len() as u64);
        if more > 0 {
            all.push(format!("and {more} more; `backup-client show` lists them all"));
        }
        all.extend(self.warnings.iter().cloned());
        all
    }
}

fn problem_line(problem: &Problem) -> String {
    let kind = match problem.kind {
        ProblemKind::Skipped => "skipped",
        ProblemKind::Changed => "changed while it was read",
        ProblemKind::Note => "left out",
    };
    format!("{}: {kind}: {}", problem.shown_path(), problem.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use intellistor_storage::catalog::layout::BackupName;
    use intellistor_storage::manifest::Totals;

    fn report(store: &str, problems: usize, skipped: u64) -> BackupReport {
        let name = BackupName {
            policy_id: "p".to_owned(),
            timestamp: "20261123T020000Z".to_owned(),
            backup_id: "b".to_owned(),
        };
        let problem = |i| Problem {
            relative_path: format!("a{i}"),
            kind: ProblemKind::Skipped,
            reason: "it is a socket".to_owned(),
        };
        BackupReport {
            store: store.to_owned(),
            key_backup: name.archive_key(),
            key_manifest: name.manifest_key(),
            name,
            streams_left_out: 0,
            totals: Totals { skipped, ..Totals::default() },
            archive_bytes: 0,
            manifest_bytes: 0,
            parts: 1,
            archive_sha256: String::new(),
            seconds: 0.5,
            problems: (0..problems).map(problem).collect(),
            warnings: Vec::new(),
            notes: Vec::new(),
            roots: Vec::new(),
            snapshots: Vec::new(),
            base: Some("a".to_owned()),
            brake: None,
            changes: Changes { new: 2, ..Changes::default() },
            locked_until: None,
            retention: None,
            trace_id: None,
        }
    }

    #[test]
    fn the_document_has_the_contracts_members() {
        let json =
            serde_json::to_value(report("s3://bucket/prefix", 1, 3).document("cmd".to_owned())).unwrap();
        assert_eq!(json["s3"]["bucket"], "bucket");
        assert_eq!(json["s3"]["key_backup"], "backups/p/20261123T020000Z/b/backup.tar.gz.enc");
        assert_eq!((&json["cli_restore"], json.get("cli_restore_powershell")), (&"cmd".into(), None));
        let lines = RestoreLines { line: "cmd".to_owned(), powershell: Some("ps".to_owned()) };
        let both = serde_json::to_value(report("s3://bucket", 0, 0).document(lines)).unwrap();
        assert_eq!(both["cli_restore_powershell"], "ps");
        assert_eq!((&json["base"], &json["changes"]["new"]), (&"a".into(), &2.into()));
        assert_eq!(json["changes"].as_object().unwrap().len(), 8);
        assert_eq!(json["warnings"][0], "a0: skipped: it is a socket");
        assert_eq!(json["warnings"][1], "and 2 more; `backup-client show` lists them all");
        let local = serde_json::to_value(report("file:///mnt/nas", 0, 0).document("cmd".to_owned())).unwrap();
        assert!(local["s3"]["bucket"].is_null() && local["warnings"].as_array().unwrap().is_empty());
    }
}
