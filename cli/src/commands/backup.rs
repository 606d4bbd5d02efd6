//! `backup`: one run of a policy.

use std::path::PathBuf;

use clap::Args;
use intellistor::BackupOptions;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::progress::Meter;
use crate::selection::{FullArgument, PolicyArgument, SealArgument, TakeOverArgument};
use crate::session::Session;
use crate::summary;

/// Back up what a policy names
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client backup --policy policy.yaml
  backup-client backup --policy policy.yaml --out /mnt/usb    also keep a copy on a disk
  backup-client backup --policy policy.yaml --full            depend on no earlier backup

A backup stores what changed since the previous one, and can be restored by itself. \
`cli_restore` in the result is the command that restores this backup; on Windows it works in cmd and in PowerShell, or \
`cli_restore_powershell` has the one for PowerShell. \
Exit code 3: the backup was made, but `warnings` has what needs attention: entries that were skipped or changed \
while they were read, a path that is missing or empty, many files gone or changed at once, an archive of an earlier \
backup that is missing, a copy that is missing, a policy that was taken over, another key than last time, a wrong \
clock. Exit code 2 if the policy belongs to another machine: nothing was written.")]
pub(crate) struct Backup {
    #[command(flatten)]
    policy: PolicyArgument,
    #[command(flatten)]
    seal: SealArgument,
    /// A folder for a copy of the backup, made at the same time; the copy is a complete store
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    kind: FullArgument,
    #[command(flatten)]
    ownership: TakeOverArgument,
}

pub(crate) async fn run(command: &Backup, session: &Session) -> Result<Done, Failure> {
    let policy = session.policy(&command.policy.policy)?;
    // Before the store is opened: it is the likelier mistake.
    policy.check_paths()?;
    intellistor::privilege::reach_all_files();
    let (catalog, recipients) = session.open_to_seal(&policy, &command.seal).await?;
    session.note_new_stores(&catalog.new_folders(), "back up again");
    let run = session.run_options();
    session.note_agent_only(&policy);
    session.note_limits(&policy);
    let meter = Meter::start(&session.screen, "backing up", run.progress.clone());
    let options = BackupOptions {
        copy_to: command.out.clone(),
        run,
        estimate: meter.is_some(),
        take_over: command.ownership.take_over,
        full: command.kind.full,
    };
    let report = intellistor::backup(&catalog, &recipients, &policy, options).await;
    drop(meter);
    let report = report.map_err(Failure::engine(format!("cannot back up policy {}", policy.policy_id)))?;
    let exit = if report.is_complete() { Exit::Success } else { Exit::Incomplete };
    let cli_restore = session.restore_command(&command.policy.policy, &report.key_backup).lines();
    session.screen.conclude(summary::of_backup(&report, &cli_restore.line));
    Done::document(&report.document(cli_restore), exit)
}
