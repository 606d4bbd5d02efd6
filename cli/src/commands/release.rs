//! `release`: ends a hold.

use clap::Args;
use intellistor::{BackupName, BackupState, Catalog, Forgotten, HoldOptions, Identity};

use crate::commands::hold::shown;
use crate::failure::Failure;
use crate::output::Done;
use crate::selection::{KeyArgument, PolicySelection};
use crate::session::Session;

/// End the hold of a backup
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  backup-client release --policy policy.yaml --key KEY

From then on the policy's retention decides about the backup; if it was forgotten before it was held, it is forgotten again. \
Only the machine that the policy belongs to can release. --legal also ends the S3 legal holds that `hold --legal` has set, but for \
archives that other legally held backups need.")]
pub(crate) struct Release {
    #[command(flatten)]
    policy: PolicySelection,
    #[command(flatten)]
    key: KeyArgument,
    /// Also end the S3 legal holds on the backup's objects
    #[arg(long)]
    legal: bool,
    /// Show what the backup's state would be; change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(command: &Release, session: &Session) -> Result<Done, Failure> {
    let policy = session.selected_policy(&command.policy)?;
    let (catalog, identity) = session.open(&policy).await?;
    let name = session.named(&catalog, &identity, &policy, &command.key.key).await?;
    let options = HoldOptions { legal: command.legal, dry_run: command.dry_run };
    let released = intellistor::release(&catalog, &identity, &policy.policy_id, &name, options);
    let what = format!("cannot release backup {}", name.backup_id);
    let mut report = session.unless_cancelled(released).await.map_err(Failure::engine(what))?;
    if report.state == BackupState::Forgotten {
        report.notes.push(forgotten_again(&catalog, &identity, &name, session).await);
    }
    shown(&report, session)
}

/// The hold has hidden that a backup is forgotten.
async fn forgotten_again(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    session: &Session,
) -> String {
    let again = "`unforget` lists it again";
    // In a dry run the hold is there still.
    match session.unless_cancelled(catalog.forgotten(name, identity)).await {
        Ok(Some(Forgotten { time, prunable_from, .. })) => format!(
            "it is forgotten since {}, and the next sweep may delete it from {} on; {again}",
            time.format("%Y-%m-%d"),
            prunable_from.format("%Y-%m-%d %H:%M UTC")
        ),
        _ => format!(
            "it was forgotten before it was held, and a sweep may delete it once it is released; {again}"
        ),
    }
}
