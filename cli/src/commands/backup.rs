//! `backup`: one run of a policy.

use std::path::PathBuf;

use clap::Args;
use intellistor::{BackupOptions, BackupReport, Problem, ProblemKind, StoreUrl};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::progress::Meter;
use crate::selection::{PolicyArgument, SealArgument, TakeOverArgument};
use crate::session::Session;
use crate::units::{counted, duration};
use indicatif::BinaryBytes;

/// Back up what a policy names
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client backup --policy policy.yaml
  backup-client backup --policy policy.yaml --out /mnt/usb    also keep a copy on a disk

The result has `cli_restore`, the command that restores this very backup. \
Exit code 3: the backup was made, but `warnings` has what needs attention: entries that were skipped or changed \
while they were read, a path that is missing or empty, a copy that is missing, a policy that was taken over, another \
key than last time, a wrong clock. Exit code 2 where the policy belongs to another \
machine: nothing was written.")]
pub(crate) struct Backup {
    #[command(flatten)]
    policy: PolicyArgument,
    #[command(flatten)]
    seal: SealArgument,
    /// A folder for a copy of the backup, made at the same time; it is laid out as a store
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    ownership: TakeOverArgument,
}

/// What a backup gives; `intellistor-agent run` gives more.
#[derive(Serialize)]
pub(crate) struct Document {
    backup_id: String,
    timestamp: String,
    policy: String,
    store: String,
    s3: Keys,
    cli_restore: String,
    files: u64,
    directories: u64,
    symlinks: u64,
    bytes: u64,
    archive_bytes: u64,
    archive_sha256: String,
    manifest_bytes: u64,
    parts: u32,
    seconds: f64,
    skipped: u64,
    changed: u64,
    /// Sockets and the like, which have no content; `show` lists them.
    notes: u64,
    pub(crate) warnings: Vec<String>,
    /// Left out where traces are off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
}

#[derive(Serialize)]
struct Keys {
    /// None where the store is a folder.
    bucket: Option<String>,
    key_backup: String,
    key_manifest: String,
}

pub(crate) async fn run(command: &Backup, session: &Session) -> Result<Done, Failure> {
    let policy = session.policy(&command.policy.policy)?;
    // Before the store is opened: it is the likelier mistake.
    policy.check_paths()?;
    intellistor::privilege::read_everything();
    let (catalog, recipients) = session.open_to_seal(&policy, &command.seal).await?;
    session.note_new_stores(&catalog.new_folders());
    let run = session.run_options();
    let meter = Meter::start(&session.screen, "backing up", run.progress.clone());
    let options = BackupOptions {
        copy_to: command.out.clone(),
        run,
        estimate: meter.is_some(),
        take_over: command.ownership.take_over,
    };
    let report = intellistor::backup(&catalog, &recipients, &policy, options).await;
    let report = report.map_err(Failure::engine(format!("cannot back up policy {}", policy.policy_id)))?;
    if let Some(meter) = meter {
        let files = counted(report.totals.files, "file");
        meter.finish(&format!(
            "backed up {files}, {} in {}",
            BinaryBytes(report.totals.bytes),
            duration(report.seconds)
        ));
    }
    let complete = report.is_complete();
    let cli_restore = session.restore_command(&command.policy.policy, &report.key_backup).line();
    Done::document(&document(report, cli_restore), if complete { Exit::Success } else { Exit::Incomplete })
}

pub(crate) fn document(report: BackupReport, cli_restore: String) -> Document {
    let bucket = match StoreUrl::parse(&report.store) {
        Ok(StoreUrl::S3 { bucket, .. }) => Some(bucket),
        _ => None,
    };
    let totals = report.totals;
    let unlisted = (totals.skipped + totals.changed).saturating_sub(report.problems.len() as u64);
    let mut warnings = report.notes;
    warnings.extend(report.problems.iter().map(warning));
    if unlisted > 0 {
        warnings.push(format!("and {unlisted} more; `backup-client show` lists them all"));
    }
    warnings.extend(report.warnings);
    Document {
        backup_id: report.name.backup_id,
        timestamp: report.name.timestamp,
        policy: report.name.policy_id,
        store: report.store,
        s3: Keys { bucket, key_backup: report.key_backup, key_manifest: report.key_manifest },
        cli_restore,
        files: totals.files,
        directories: totals.directories,
        symlinks: totals.symlinks,
        bytes: totals.bytes,
        archive_bytes: report.archive_bytes,
        archive_sha256: report.archive_sha256,
        manifest_bytes: report.manifest_bytes,
        parts: report.parts,
        seconds: report.seconds,
        skipped: totals.skipped,
        changed: totals.changed,
        notes: totals.notes,
        warnings,
        trace_id: report.trace_id,
    }
}

fn warning(problem: &Problem) -> String {
    let kind = match problem.kind {
        ProblemKind::Skipped => "skipped",
        ProblemKind::Changed => "changed while it was read",
        ProblemKind::Note => "left out",
    };
    format!("{}: {kind}: {}", problem.relative_path, problem.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use intellistor::{BackupName, Totals};

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
            trace_id: None,
        }
    }

    #[test]
    fn the_document_has_the_contracts_members() {
        let json =
            serde_json::to_value(document(report("s3://bucket/prefix", 1, 3), "cmd".to_owned())).unwrap();
        assert_eq!(json["s3"]["bucket"], "bucket");
        assert_eq!(json["s3"]["key_backup"], "backups/p/20261123T020000Z/b/backup.tar.gz.enc");
        assert_eq!(json["warnings"][0], "a0: skipped: it is a socket");
        assert_eq!(json["warnings"][1], "and 2 more; `backup-client show` lists them all");
        let local =
            serde_json::to_value(document(report("file:///mnt/nas", 0, 0), "cmd".to_owned())).unwrap();
        assert!(local["s3"]["bucket"].is_null() && local["warnings"].as_array().unwrap().is_empty());
    }
}
