//! `prune`: deletes what was forgotten long enough ago.

use clap::Args;
use indicatif::BinaryBytes;
use intellistor::SweepReport;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::selection::PolicyArgument;
use crate::session::Session;
use crate::units::counted;

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
    tell(&report, session);
    Done::document(&report, Exit::Success)
}

fn tell(report: &SweepReport, session: &Session) {
    let deleted = counted(report.deleted.len() as u64, "forgotten backup");
    let freed = BinaryBytes(report.bytes_freed);
    let verb = if report.dry_run { "would delete" } else { "deleted" };
    let (waiting, kept) = (report.waiting.len(), report.kept.len());
    let archives = match report.archive_kept.len() as u64 {
        0 => String::new(),
        backups => format!(", and {backups} more but for the archives, which other backups need"),
    };
    let next = report.waiting.iter().map(|backup| backup.prunable_from).min();
    let next = next.map(|next| format!(", the next from {} on", next.format("%Y-%m-%d %H:%M UTC")));
    session.screen.note(format_args!(
        "{verb} {deleted}{archives}: {freed}; {waiting} waiting{}; {kept} kept",
        next.unwrap_or_default()
    ));
}
