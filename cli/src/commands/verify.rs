//! `verify`: every byte of a backup, without restoring it.

use clap::Args;

use crate::changed::warn_of_changed;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::progress::Meter;
use crate::selection::{PolicySelection, Which};
use crate::session::Session;
use crate::summary;

/// Check every byte of a backup, without restoring it
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  backup-client verify --policy policy.yaml --latest

Every archive that the backup needs is read whole from the store, also those of earlier backups that it depends on; nothing \
is written. Exit code 4 means that one is missing, damaged or was altered. \
Entries that changed while they were backed up are compared with what was read; `changed` counts them, `warnings` \
names them. `locked_until` is the earliest end of the locks of all objects that it needs, `null` if one is not locked.")]
pub(crate) struct Verify {
    #[command(flatten)]
    policy: PolicySelection,
    #[command(flatten)]
    which: Which,
}

pub(crate) async fn run(command: &Verify, session: &Session) -> Result<Done, Failure> {
    let policy = session.selected_policy(&command.policy)?;
    let (catalog, identity) = session.open(&policy).await?;
    let name = session.choose(&catalog, &identity, &policy, &command.which).await?;
    let run = session.run_options();
    session.note_limits(&policy);
    let meter = Meter::start(&session.screen, "verifying", run.progress.clone());
    let report = intellistor::verify(&catalog, &identity, &name, run).await;
    drop(meter);
    let report = report
        .map_err(session.backup_failure(
            format!("cannot verify backup {}", name.backup_id),
            &command.policy,
            &[],
            None,
        ))
        .map_err(|failure| {
            let integrity = if failure.exit() == Exit::Integrity { "failed" } else { "not checked" };
            failure.with("backup_id", name.backup_id.as_str()).with("integrity", integrity)
        })?;
    warn_of_changed(&session.screen, report.changed);
    if policy.lock.is_some() && report.locked_until.is_none() {
        session.screen.warn(
            "the policy has `lock`, but not every object of this backup is locked: it was made before, or the lock has ended, \
             or the store refused it, or these credentials lack s3:GetObjectRetention",
        );
    }
    session.screen.conclude(summary::of_verify(&report, &catalog.url()));
    Done::document(&report, Exit::Success)
}
