//! `hold`: a backup that is kept whatever the rules say.

use clap::Args;
use intellistor::{HoldOptions, HoldReport};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::selection::{PolicySelection, Which, reason};
use crate::session::Session;

/// Keep a backup, whatever the policy's retention says, until it is released
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client hold --policy policy.yaml --latest --reason 'before the migration'
  backup-client hold --policy policy.yaml --key KEY --reason 'case 2026/118' --legal

A backup that is held is listed, also if it was forgotten before, and nothing deletes it. Any machine with the key can hold a \
backup; `release`, on the policy's own machine, ends the hold. --legal also puts S3 legal holds on every object that the backup \
needs, so that the store itself lets no one delete them; that takes a bucket with Object Lock.")]
pub(crate) struct Hold {
    #[command(flatten)]
    policy: PolicySelection,
    #[command(flatten)]
    which: Which,
    /// Why; shown to anyone who tries to forget it
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    /// Also set S3 legal holds on the backup's objects
    #[arg(long)]
    legal: bool,
    /// Show what the backup's state would be; change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(command: &Hold, session: &Session) -> Result<Done, Failure> {
    let policy = session.selected_policy(&command.policy)?;
    let (catalog, identity) = session.open(&policy).await?;
    let name = session.named(&catalog, &identity, &policy, &command.which.selector()).await?;
    let options = HoldOptions { legal: command.legal, dry_run: command.dry_run };
    let held = intellistor::hold(&catalog, &identity, &policy.policy_id, &name, &command.reason, options);
    let what = format!("cannot hold backup {}", name.backup_id);
    shown(&session.unless_cancelled(held).await.map_err(Failure::engine(what))?, session)
}

/// The document, after its notes were shown.
pub(super) fn shown(report: &HoldReport, session: &Session) -> Result<Done, Failure> {
    report.notes.iter().for_each(|note| session.screen.note(note));
    Done::document(report, Exit::Success)
}
