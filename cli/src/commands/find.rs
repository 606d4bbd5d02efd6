//! `find`: which backups have a file, and where it changed.

use clap::Args;
use indicatif::{BinaryBytes, HumanCount};
use intellistor::globs::literal;
use intellistor::{EntryKind, FindOptions, FindReport, FoundFile, FoundVersion, shown_path};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::format::{FormatArgument, OutputFormat};
use crate::output::table::{Table, Tone, plain};
use crate::output::{Done, times};
use crate::restore_command::RestoreCommand;
use crate::selection::PolicySelection;
use crate::session::Session;
use crate::short_id;
use crate::units::counted;

/// Find files in all backups of a policy, newest first, and where their content changed
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client find --policy policy.yaml '*.docx' --format table
  backup-client find --policy policy.yaml 'docs/Relatório*' | jq -r '.files[].versions[] | select(.changed) | .newest.key'

Globs are those of `restore --only`: quote them; they are matched against the whole relative path, and `*` also matches `/`. Each \
file has its contents, newest first, and each of those the backups from `newest` to `oldest` that have it, one after the other; \
`changed` says that it differs from the next older one, and equal contents have one number. `cli_restore` restores the newest \
match. Every manifest is verified; forgotten backups are not searched.
Exit code 1: nothing matches. Exit code 3: some backups could not be read, since another key sealed them or their manifest is \
missing (see `unread`). Exit code 4: the manifest of one is damaged; the others were searched.")]
pub(crate) struct Find {
    /// What to look for; quote it, so that the shell leaves it alone
    #[arg(value_name = "GLOB", required = true)]
    globs: Vec<String>,
    #[command(flatten)]
    policy: PolicySelection,
    /// Search only so many of the newest backups
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    newest: Option<u32>,
    /// List at most so many files; the others are counted
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    #[command(flatten)]
    format: FormatArgument,
}

#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    report: FindReport,
    /// Restores the newest match.
    cli_restore: Option<String>,
}

pub(crate) async fn run(command: &Find, session: &Session) -> Result<Done, Failure> {
    let format = command.format.of(&session.environment)?;
    let policy = session.selected_policy(&command.policy)?;
    let (catalog, identity) = session.open(&policy).await?;
    let options = FindOptions {
        patterns: command.globs.clone(),
        newest: command.newest.map(|newest| newest as usize),
        limit: command.limit as usize,
    };
    let found = intellistor::find(&catalog, &identity, &policy.policy_id, options);
    let what = format!("cannot search the backups of policy {}", policy.policy_id);
    let report = session.unless_cancelled(found).await.map_err(Failure::engine(what))?;
    report.warnings.iter().for_each(|warning| session.screen.warn(warning));
    for unread in &report.unread {
        session.screen.warn(format_args!("not searched: {}: {}", unread.backup.key, unread.reason));
    }
    let cli_restore = report.newest_match().map(|(backup, path)| {
        let only = [literal(path)];
        RestoreCommand { only: &only, ..session.restore_command(&command.policy, &backup.key) }.line()
    });
    let document = Document { report, cli_restore };
    let exit = exit(&document.report);
    if document.report.files.is_empty() && exit == Exit::Success {
        let searched = counted(document.report.searched, "backup");
        return Err(Failure::new(
            Exit::Failed,
            format!("nothing matches in {searched} of policy {}", policy.policy_id),
        )
        .hint(
            "`backup-client show --latest --tree` shows the paths of the newest backup; `*` also matches `/`",
        )
        .with_members(&document));
    }
    match format {
        OutputFormat::Json => Done::document(&document, exit),
        OutputFormat::Table => table(&document).print(exit),
    }
}

fn exit(report: &FindReport) -> Exit {
    match report.unread.iter().any(|unread| unread.damaged) {
        true => Exit::Integrity,
        false if report.unread.is_empty() => Exit::Success,
        false => Exit::Incomplete,
    }
}

fn table(Document { report, cli_restore }: &Document) -> Table {
    let named = |v: &'_ FoundVersion| [v.newest.backup_id.clone(), v.oldest.backup_id.clone()];
    let ids: Vec<_> = report.files.iter().flat_map(|file| &file.versions).flat_map(named).collect();
    let length = short_id::length(ids.iter().map(String::as_str));
    let mut table = Table::new(["file", "size", "modified", "in backups", "newest"])
        .right_aligned(&[1])
        .shorter(2, times::without_zone)
        .shorter(3, |range| range.rsplit_once(", ").map_or(range, |(_, count)| count).to_owned())
        .optional(&[1, 3])
        .shrinking(0);
    for FoundFile { relative_path, versions } in &report.files {
        for (at, version) in versions.iter().enumerate() {
            // The path once; then what it was before.
            let path = if at == 0 { shown_path(relative_path).into_owned() } else { String::new() };
            let size = match version.kind {
                EntryKind::Directory => "folder".to_owned(),
                EntryKind::Symlink => "link".to_owned(),
                EntryKind::File | EntryKind::Hardlink | EntryKind::Stream => {
                    BinaryBytes(version.size).to_string()
                }
            };
            let tone = if version.changed { Tone::Warning } else { Tone::Plain };
            table.row([
                plain(path),
                (size, tone),
                (times::of_rfc3339(&version.mtime), tone),
                plain(range(version)),
                plain(short_id::short(&version.newest.backup_id, length)),
            ]);
        }
    }
    let files = counted(report.files.len() as u64, "file");
    table.note(format_args!("{files} in {} of policy {}", counted(report.searched, "backup"), report.policy));
    if report.left_out > 0 {
        table.note(format_args!(
            "{} more matches, not listed; --limit lists more",
            HumanCount(report.left_out)
        ));
    }
    if let Some(command) = cli_restore {
        table.note(format_args!("to restore the newest: {command}"));
    }
    table
}

/// `2026-11-01 .. 2026-11-20, 20 backups`.
fn range(version: &FoundVersion) -> String {
    let day = |timestamp: &str| times::of_timestamp(timestamp).chars().take(10).collect::<String>();
    let (newest, oldest) = (day(&version.newest.timestamp), day(&version.oldest.timestamp));
    let days = if newest == oldest { newest } else { format!("{oldest} .. {newest}") };
    format!("{days}, {}", counted(version.backups, "backup"))
}

#[cfg(test)]
mod tests {
    use intellistor::{NamedBackup, UnreadBackup};

    use super::*;
    use crate::output::table::Surface;

    fn backup(backup_id: &str, timestamp: &str) -> NamedBackup {
        NamedBackup { backup_id: backup_id.into(), timestamp: timestamp.into(), key: "k".into() }
    }

    fn report() -> FindReport {
        let version = |content, changed, days: [&str; 2]| FoundVersion {
            content,
            changed,
            kind: EntryKind::File,
            size: 1536,
            mtime: "2026-10-30T12:00:00Z".into(),
            sha256: None,
            backups: 20,
            newest: backup("0192f3a1-1", days[0]),
            oldest: backup("0192f3a2-1", days[1]),
        };
        let versions = vec![
            version(1, true, ["20261120T120000Z", "20261101T120000Z"]),
            version(2, false, ["20261031T120000Z", "20261031T120000Z"]),
        ];
        let file =
            FoundFile { relative_path: "documentos/contabilidade/Relatório anual.pdf".into(), versions };
        FindReport {
            policy: "p".into(),
            store: "s".into(),
            searched: 21,
            matches: 21,
            left_out: 0,
            files: vec![file],
            unread: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_range_of_backups_is_one_line_at_every_width() {
        for width in [40, 80, 140] {
            let document = Document { report: report(), cli_restore: None };
            let text = table(&document).render(Surface::plain(width));
            let lines: Vec<_> = text.lines().take(4).collect();
            assert!(lines.iter().all(|line| line.chars().count() <= width.into()), "{text}");
            assert!(lines[1].starts_with("doc") && lines[1].contains("2026-10-30"), "{text}");
            assert!(lines[2].starts_with(' ') && lines[3].is_empty(), "{text}");
        }
        let wide = table(&Document { report: report(), cli_restore: None }).render(Surface::plain(140));
        assert!(wide.contains("2026-11-01 .. 2026-11-20, 20 backups"), "{wide}");
    }

    #[test]
    fn the_exit_code_tells_what_was_not_searched() {
        let unread = |damaged| UnreadBackup { backup: backup("b", "t"), reason: "why".into(), damaged };
        let of = |unread| exit(&FindReport { unread, ..report() });
        assert_eq!(of(vec![]), Exit::Success);
        assert_eq!(of(vec![unread(false)]), Exit::Incomplete);
        assert_eq!(of(vec![unread(false), unread(true)]), Exit::Integrity);
    }
}
