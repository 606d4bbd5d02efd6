//! `forget`: backups that are not listed any more, by the policy's rules or by name.

use clap::Args;
use intellistor::{BackupSelector, ForgetOptions, ForgetReport, RetentionOptions};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::selection::{PolicyArgument, reason};
use crate::session::Session;
use crate::units::counted;

/// Forget the backups that the policy's retention does not keep, or one backup
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client forget --policy policy.yaml --dry-run
  backup-client forget --policy policy.yaml --key KEY --why 'made by mistake'

A forgotten backup is not listed any more. Its data stays in the store for the policy's `prune_after`, and until then `unforget` \
lists it again; after that, `prune` deletes it. The result has a reason for every backup that is kept. The rules forget nothing \
while so many files are missing or changed that a disk may not be mounted, or files may have been deleted or encrypted: \
`resting` says why. Look into it, and if nothing is lost, say so with --confirm. A backup that is held is never forgotten.")]
pub(crate) struct Forget {
    #[command(flatten)]
    policy: PolicyArgument,
    /// Forget this backup alone, whatever the rules say: its key in the store, as `list` shows it; or its id or timestamp, or the
    /// beginning of one, at least 4 characters
    #[arg(long, value_name = "BACKUP")]
    key: Option<BackupSelector>,
    /// Why; `list --forgotten` shows it
    #[arg(long, value_name = "TEXT", requires = "key", value_parser = reason)]
    why: Option<String>,
    /// With --key: forget it even if it is the newest backup, or the newest without problems. Without --key: apply the rules even
    /// though many files are missing or changed, since none of them is lost
    #[arg(long)]
    confirm: bool,
    /// Show what would be forgotten and what would be kept, and why; change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(command: &Forget, session: &Session) -> Result<Done, Failure> {
    let policy = session.policy(&command.policy.policy)?;
    let (catalog, identity) = session.open(&policy).await?;
    let name = match &command.key {
        Some(key) => Some(session.named(&catalog, &identity, &policy, key).await?),
        None => None,
    };
    let Forget { confirm, dry_run, .. } = *command;
    let report = match &name {
        Some(name) => {
            let options = ForgetOptions { why: command.why.clone(), confirm, dry_run };
            let forgotten = intellistor::forget(&catalog, &identity, &policy, name, options);
            let what = format!("cannot forget backup {}", name.backup_id);
            session.unless_cancelled(forgotten).await.map_err(Failure::engine(what))?
        }
        None => {
            let options = RetentionOptions { confirm, dry_run, made: None };
            let applied = intellistor::apply_retention(&catalog, &identity, &policy, options);
            let what = format!("cannot apply the retention of policy {}", policy.policy_id);
            session.unless_cancelled(applied).await.map_err(Failure::engine(what))?
        }
    };
    tell(&report, session);
    Done::document(&report, Exit::Success)
}

fn tell(report: &ForgetReport, session: &Session) {
    let screen = &session.screen;
    report.notes.iter().for_each(|note| screen.note(note));
    if let Some(why) = &report.resting {
        screen.warn(format_args!(
            "retention rests, and nothing was forgotten, {why}. If nothing was lost, run `backup-client forget` with --confirm"
        ));
    }
    let forgotten = counted(report.forgotten.len() as u64, "backup");
    let kept = report.kept.len();
    match (report.dry_run, report.prunable_from) {
        (false, Some(from)) => screen.note(format_args!(
            "forgot {forgotten}; `prune` deletes what was forgotten, from {} on; until then `unforget` takes it back",
            from.format("%Y-%m-%d %H:%M UTC")
        )),
        (true, Some(_)) => screen.note(format_args!("would forget {forgotten}, and keep {kept}")),
        (_, None) => {}
    }
}
