//! `prune`: deletes what was forgotten long enough ago.

use clap::Args;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::selection::PolicyArgument;
use crate::session::Session;
use crate::summary;

/// Delete the backups that were forgotten long enough ago
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client prune --policy policy.yaml --dry-run
  backup-client prune --policy policy.yaml

A backup is deleted once it has been forgotten for the policy's `prune_after` (8 days, if it has none), by the store's clock. \
Nothing that is listed loses a byte: an archive that another backup still needs stays until that one is deleted, too. \
`kept` has the reason for everything that stays although its time has come: it is held, locked in the store, or needed. \
Nothing is deleted while any manifest of the policy cannot be read. An interrupted prune is finished by the next one. \
Run one at a time, and none while the agent runs this policy.")]
pub(crate) struct Prune {
    #[command(flatten)]
    policy: PolicyArgument,
    /// Show what would be deleted, and how much that frees; change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(command: &Prune, session: &Session) -> Result<Done, Failure> {
    let policy = session.policy(&command.policy.policy)?;
    let (catalog, identity) = session.open(&policy).await?;
    let policy_id = &policy.policy_id;
    let cancel = session.cancel.clone();
    let report = intellistor::prune(&catalog, &identity, &policy, command.dry_run, cancel).await;
    let report =
        report.map_err(Failure::engine(format!("cannot prune the backups of policy {policy_id}")))?;
    session.screen.conclude(summary::of_prune(&report));
    Done::document(&report, Exit::Success)
}
