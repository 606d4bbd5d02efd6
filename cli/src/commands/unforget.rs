//! `unforget`: lists a forgotten backup again.

use clap::Args;

use crate::commands::hold::shown;
use crate::failure::Failure;
use crate::output::Done;
use crate::selection::{KeyArgument, PolicySelection};
use crate::session::Session;

/// List a forgotten backup again
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  backup-client unforget --policy policy.yaml --key KEY

`list --forgotten` shows the keys of forgotten backups. It works until `prune` deletes the backup, and on any machine with the \
key. The policy's retention may forget the backup again: `hold` keeps it.")]
pub(crate) struct Unforget {
    #[command(flatten)]
    policy: PolicySelection,
    #[command(flatten)]
    key: KeyArgument,
    /// Show what the backup's state would be; change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(command: &Unforget, session: &Session) -> Result<Done, Failure> {
    let policy = session.selected_policy(&command.policy)?;
    let (catalog, identity) = session.open(&policy).await?;
    let name = session.named(&catalog, &identity, &policy, &command.key.key).await?;
    let listed = intellistor::unforget(&catalog, &identity, &policy.policy_id, &name, command.dry_run);
    let what = format!("cannot unforget backup {}", name.backup_id);
    shown(&session.unless_cancelled(listed).await.map_err(Failure::engine(what))?, session)
}
