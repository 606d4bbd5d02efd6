//! `release`: ends a hold.

use clap::Args;
use intellistor::HoldOptions;

use crate::commands::hold::shown;
use crate::failure::Failure;
use crate::output::Done;
use crate::selection::{KeyArgument, PolicyArgument};
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
    policy: PolicyArgument,
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
    let policy = session.policy(&command.policy.policy)?;
    let name = session.named(&command.key.key)?;
    let (catalog, identity) = session.open(&policy).await?;
    let options = HoldOptions { legal: command.legal, dry_run: command.dry_run };
    let released = intellistor::release(&catalog, &identity, &policy.policy_id, &name, options);
    let what = format!("cannot release backup {}", name.backup_id);
    shown(&session.unless_cancelled(released).await.map_err(Failure::engine(what))?, session)
}
