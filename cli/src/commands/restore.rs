//! `restore`: a backup, whole or in part.

use std::path::PathBuf;

use clap::Args;
use intellistor::{Integrity, RestoreOptions, RestoreReport};

use crate::changed::warn_of_changed;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::progress::Meter;
use crate::selection::{OnlyArgument, PolicySelection, Which};
use crate::session::Session;
use crate::units::{counted, duration};
use indicatif::BinaryBytes;

/// Restore a backup, whole or in part
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client restore --policy policy.yaml --latest --out restored
  backup-client restore --policy policy.yaml --latest --out restored --only '*.png' 'docs/*'
  backup-client restore --policy policy.yaml --at 2026-11-01 --out restored
  backup-client restore --policy policy.yaml --key 019f9d3e --out restored

Nothing is written outside --out. `backup-client show` lists what a backup contains. \
Exit code 3: some files, or some of their attributes, could not be restored (see `warnings`). \
Files that changed while they were backed up are restored as they were read; `changed` counts them, `warnings` names them. \
Exit code 4: files are damaged (see `damaged`).")]
pub(crate) struct Restore {
    #[command(flatten)]
    policy: PolicySelection,
    #[command(flatten)]
    which: Which,
    /// The folder to restore into; it is created if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    only: OnlyArgument,
    /// Restore from the archive alone, if the manifest is lost: of an incremental backup what it added, and no more. This is
    /// slower, as the whole archive is read. --latest then means the newest archive; `backup-client list --orphans` shows
    /// those that have no manifest
    #[arg(long)]
    without_manifest: bool,
}

pub(crate) async fn run(command: &Restore, session: &Session) -> Result<Done, Failure> {
    let policy = session.selected_policy(&command.policy)?;
    let (catalog, identity) = session.open(&policy).await?;
    let name = if command.without_manifest {
        session.choose_archive(&catalog, &policy, &command.which).await?
    } else {
        session.choose(&catalog, &identity, &policy, &command.which).await?
    };
    let run = session.run_options();
    session.note_limits(&policy);
    let meter = Meter::start(&session.screen, "restoring", run.progress.clone());
    let options = RestoreOptions {
        only: command.only.only.clone(),
        without_manifest: command.without_manifest,
        run,
        ..RestoreOptions::to(&command.out)
    };
    let report = intellistor::restore(&catalog, &identity, &name, options).await;
    let report = report
        .map_err(session.backup_failure(
            format!("cannot restore backup {}", name.backup_id),
            &command.policy,
            &command.only.only,
            Some(&command.out),
        ))
        .map_err(zeros)?;
    if let Some(meter) = meter {
        let entries = counted(report.restored, "item");
        meter.finish(&format!(
            "restored {entries}, {} in {}",
            BinaryBytes(report.bytes),
            duration(report.seconds)
        ));
    }
    warn_of_changed(&session.screen, report.changed);
    if command.without_manifest {
        // An archive does not say what its backup took over from others: only the manifest did.
        session.screen.warn(
            "these are the files that this archive holds: if its backup was incremental, files that it took over from \
             earlier backups are not among them; restore the backup before it into another folder, too",
        );
    }
    conclude(&report)
}

/// Programs find the members that they know, also where nothing was restored.
fn zeros(failure: Failure) -> Failure {
    let integrity = if failure.exit() == Exit::Integrity { "failed" } else { "not checked" };
    failure.with("found", 0).with("restored", 0).with("integrity", integrity)
}

fn conclude(report: &RestoreReport) -> Result<Done, Failure> {
    if report.integrity == Integrity::Failed {
        let (damaged, backup_id) = (report.damaged_count, &report.name.backup_id);
        let entries = if damaged == 1 { "entry is" } else { "entries are" };
        let failure = Failure::new(
            Exit::Integrity,
            format!("{damaged} {entries} damaged in backup {backup_id}, and not restored"),
        )
        .because(report.damaged.join("\n"))
        .hint("restore these entries from another backup of the policy: `backup-client list` shows them");
        return Err(failure.with_members(report));
    }
    Done::document(report, if report.is_complete() { Exit::Success } else { Exit::Incomplete })
}

#[cfg(test)]
mod tests {
    use super::*;
    use intellistor::BackupName;

    fn report(warnings: usize, damaged: u64) -> RestoreReport {
        let list = |n: usize| (0..n).map(|i| format!("a{i}")).collect();
        RestoreReport {
            name: BackupName::default(),
            found: 5,
            restored: 5 - damaged,
            out: "out".into(),
            integrity: if damaged > 0 { Integrity::Failed } else { Integrity::Verified },
            bytes: 9,
            fetched_bytes: 10,
            changed: 0,
            warnings: list(warnings),
            warning_count: warnings as u64,
            damaged: list(damaged as usize),
            damaged_count: damaged,
            seconds: 0.1,
            trace_id: None,
        }
    }

    #[test]
    fn the_exit_code_tells_the_worst() {
        let exit = |report| match conclude(&report) {
            Ok(Done::Document(text, exit)) => {
                assert_eq!(
                    serde_json::from_str::<serde_json::Value>(&text).unwrap()["integrity"],
                    "verified"
                );
                exit
            }
            Ok(Done::Written(_)) => panic!("no document"),
            Err(failure) => {
                let document = failure.document();
                assert_eq!(document["integrity"], "failed");
                assert_eq!(document["error"]["category"], "integrity");
                assert_eq!(document["damaged"][1], "a1");
                failure.exit()
            }
        };
        assert_eq!(exit(report(0, 0)), Exit::Success);
        assert_eq!(exit(report(2, 0)), Exit::Incomplete);
        assert_eq!(exit(report(2, 2)), Exit::Integrity);
    }

    #[test]
    fn a_refused_backup_says_so_in_the_members_that_programs_know() {
        let document = zeros(Failure::new(Exit::Integrity, "refused")).document();
        assert_eq!((&document["found"], &document["integrity"]), (&0.into(), &"failed".into()));
        assert_eq!(zeros(Failure::new(Exit::Failed, "x")).document()["integrity"], "not checked");
    }
}
