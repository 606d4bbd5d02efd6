//! `forget`: backups that are not listed any more, by the policy's rules or by name.

use clap::Args;
use intellistor::{BackupSelector, ForgetOptions, ForgetReport, RetentionOptions};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::format::{FormatArgument, OutputFormat};
use crate::output::table::{Table, Tone, plain};
use crate::output::{Done, times};
use crate::selection::{PolicyArgument, reason};
use crate::session::Session;
use crate::units::counted;

/// Of a backup's id, which begins with its time to the millisecond: enough for `--key`.
const ID_CHARS: usize = 13;

/// Forget the backups that the policy's retention does not keep, or one backup
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client forget --policy policy.yaml --dry-run
  backup-client forget --policy policy.yaml --dry-run --format table
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
    #[command(flatten)]
    format: FormatArgument,
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
    match command.format.of(&session.environment)? {
        OutputFormat::Json => Done::document(&report, Exit::Success),
        OutputFormat::Table => table(&report).print(Exit::Success),
    }
}

/// Every backup, newest first, with the verdict and what it rests on.
fn table(report: &ForgetReport) -> Table {
    let mut rows: Vec<_> = report
        .kept
        .iter()
        .map(|kept| {
            let reasons: Vec<_> = kept.reasons.iter().map(ToString::to_string).collect();
            let why = (reasons.join("; "), Tone::Plain);
            (&kept.timestamp, &kept.backup_id, ("keep".to_owned(), Tone::Good), why)
        })
        .collect();
    let verdict = if report.dry_run { "forget" } else { "forgot" };
    rows.extend(report.forgotten.iter().map(|forgotten| {
        let why = (forgotten.reason.clone(), Tone::Plain);
        (&forgotten.timestamp, &forgotten.backup_id, (verdict.to_owned(), Tone::Warning), why)
    }));
    // Timestamps sort as times do.
    rows.sort_by(|a, b| b.0.cmp(a.0));
    let mut table = Table::new(["verdict", "made", "backup", "why"]);
    for (timestamp, backup_id, verdict, why) in rows {
        let id: String = backup_id.chars().take(ID_CHARS).collect();
        table.row([verdict, plain(times::of_timestamp(timestamp)), (id, Tone::Faint), why]);
    }
    let (forgotten, kept) = (report.forgotten.len() as u64, report.kept.len());
    let would = if report.dry_run { "would be forgotten" } else { "forgotten" };
    table.note(format_args!(
        "{} of policy {} {would}, {kept} kept, in {}",
        counted(forgotten, "backup"),
        report.policy,
        report.store
    ));
    table
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

#[cfg(test)]
mod tests {
    use intellistor::{ForgottenBackup, KeepReason, KeptBackup};

    use super::*;
    use crate::output::table::Surface;

    fn report() -> ForgetReport {
        let at = |day: u8| format!("202611{day:02}T020000Z");
        let id = |day: u8| format!("019f9d3e-00{day:02}-7000-8000-000000000000");
        ForgetReport {
            policy: "docs".to_owned(),
            store: "s3://bucket".to_owned(),
            dry_run: true,
            forgotten: vec![ForgottenBackup {
                backup_id: id(2),
                timestamp: at(2),
                key: "k".to_owned(),
                reason: "no rule keeps it".to_owned(),
            }],
            kept: [3, 1]
                .map(|day| KeptBackup {
                    backup_id: id(day),
                    timestamp: at(day),
                    key: "k".to_owned(),
                    reasons: vec![
                        KeepReason::Other("a".to_owned()),
                        KeepReason::Other("b\u{1b}[2J".to_owned()),
                    ],
                })
                .into(),
            resting: None,
            prunable_from: None,
            notes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn each_backup_has_a_verdict_newest_first() {
        let shown = table(&report()).render(Surface::plain(120));
        let rows: Vec<_> =
            shown.lines().skip(1).take(3).map(|row| row.split_whitespace().next().unwrap()).collect();
        assert_eq!(rows, ["keep", "forget", "keep"], "{shown}");
        assert!(shown.contains("019f9d3e-0002") && shown.contains("a; b\\u{1b}[2J"), "{shown}");
        assert!(
            shown.ends_with("\n1 backup of policy docs would be forgotten, 2 kept, in s3://bucket\n"),
            "{shown}"
        );
        for width in [80, 40] {
            let narrow = table(&report()).render(Surface::plain(width));
            let rows = narrow.lines().take_while(|line| !line.is_empty());
            assert!(rows.clone().all(|line| line.chars().count() <= width.into()), "{narrow}");
            assert!(rows.clone().any(|line| line.starts_with("forget")), "{narrow}");
        }
    }
}
