//! `diff`: what two backups differ in.

use clap::Args;
use indicatif::BinaryBytes;
use intellistor::{BackupSelector, DiffOptions, DiffReport, DiffSum, shown_path};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::output::format::{FormatArgument, OutputFormat};
use crate::output::table::{Table, Tone, plain};
use crate::output::times;
use crate::selection::{OnlyArgument, PolicySelection};
use crate::session::Session;
use crate::short_id;
use crate::units::counted;

/// Compare two backups of a policy: what was added, removed, changed or moved
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client diff --policy policy.yaml --format table
  backup-client diff --policy policy.yaml latest~7 latest --only 'docs/*'
  backup-client diff --policy policy.yaml 20261101 20261120 | jq -r '.removed[].relative_path'

`changed` has another content; `metadata` another mode, owner, time or attribute alone; `moved` the content of a file that is gone, \
under another path. `totals` are exact; the lists have at most --limit entries each, and `left_out` counts the others. `folders` \
are those directly below the root in which most bytes differ. The time of a folder itself is no difference. \
Exit code 0 whether or not the backups differ.")]
pub(crate) struct Diff {
    /// The older backup: a key, an id or a timestamp or the beginning of one, or `latest~1`
    #[arg(value_name = "FROM", default_value = "latest~1")]
    from: BackupSelector,
    /// The newer backup
    #[arg(value_name = "TO", default_value = "latest")]
    to: BackupSelector,
    #[command(flatten)]
    policy: PolicySelection,
    #[command(flatten)]
    only: OnlyArgument,
    /// List at most so many entries of each kind; the others are counted
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    limit: u32,
    #[command(flatten)]
    format: FormatArgument,
}

pub(crate) async fn run(command: &Diff, session: &Session) -> Result<Done, Failure> {
    let format = command.format.of(&session.environment)?;
    let policy = session.selected_policy(&command.policy)?;
    let (catalog, identity) = session.open(&policy).await?;
    let from = session.select(&catalog, &identity, &policy, &command.from).await?;
    let to = session.select(&catalog, &identity, &policy, &command.to).await?;
    let options = DiffOptions { only: command.only.only.clone(), limit: command.limit as usize };
    let compared = intellistor::diff(&catalog, &identity, &from, &to, options);
    let what = format!("cannot compare the backups {} and {}", from.backup_id, to.backup_id);
    let compared = session.unless_cancelled(compared).await;
    let report = compared.map_err(session.backup_failure(what, &command.policy, &[], None))?;
    report.warnings.iter().for_each(|warning| session.screen.warn(warning));
    match format {
        OutputFormat::Json => Done::document(&report, Exit::Success),
        OutputFormat::Table => table(&report).print(Exit::Success),
    }
}

fn table(report: &DiffReport) -> Table {
    let mut table = Table::new(["", "path", "size", "what"]).right_aligned(&[2]).optional(&[3]).shrinking(1);
    let size = |bytes| plain(BinaryBytes(bytes));
    let word = |text: &str, tone| (text.to_owned(), tone);
    for entry in &report.added {
        table.row([
            word("+", Tone::Good),
            plain(shown_path(&entry.relative_path)),
            size(entry.size),
            plain("added"),
        ]);
    }
    for entry in &report.removed {
        table.row([
            word("-", Tone::Bad),
            plain(shown_path(&entry.relative_path)),
            size(entry.size),
            plain("removed"),
        ]);
    }
    for entry in &report.changed {
        let before = format!("changed, was {}", BinaryBytes(entry.size_before));
        let what = if entry.size == entry.size_before { "changed".to_owned() } else { before };
        table.row([
            word("M", Tone::Warning),
            plain(shown_path(&entry.relative_path)),
            size(entry.size),
            plain(what),
        ]);
    }
    for entry in &report.moved {
        let from = format!("moved from {}", shown_path(&entry.from));
        table.row([
            word(">", Tone::Plain),
            plain(shown_path(&entry.relative_path)),
            size(entry.size),
            plain(from),
        ]);
    }
    for entry in &report.metadata {
        let what = entry.differs.join(", ");
        table.row([word("~", Tone::Faint), plain(shown_path(&entry.relative_path)), plain(""), plain(what)]);
    }
    let sides = [&report.from.backup, &report.to.backup];
    let length = short_id::length(sides.iter().map(|backup| backup.backup_id.as_str()));
    for (word, side) in [("from", sides[0]), ("to  ", sides[1])] {
        let (id, made) = (short_id::short(&side.backup_id, length), times::of_timestamp(&side.timestamp));
        table.note(format_args!("{word} {id}  {made}"));
    }
    let totals = &report.totals;
    if totals.is_same() {
        table.note("no difference");
    }
    let kinds = [
        ("added", totals.added),
        ("removed", totals.removed),
        ("changed", totals.changed),
        ("moved", totals.moved),
        ("metadata", totals.metadata),
        ("unchanged", totals.unchanged),
    ];
    for (kind, DiffSum { entries, bytes }) in kinds.into_iter().filter(|(_, sum)| sum.entries > 0) {
        table.note(format_args!("{kind:9}  {:>9}  {:>11}", entries, BinaryBytes(bytes).to_string()));
    }
    if report.left_out > 0 {
        let more = counted(report.left_out, "more difference");
        table.note(format_args!("{more}, not listed; --limit lists more"));
    }
    if report.folders.len() > 1 {
        table.note("where most differs:");
    }
    for folder in report.folders.iter().take(10).filter(|_| report.folders.len() > 1) {
        let bytes = folder.bytes_added.saturating_add(folder.bytes_changed);
        let (plus, minus) = (BinaryBytes(bytes).to_string(), BinaryBytes(folder.bytes_removed).to_string());
        table.note(format_args!("  +{plus:>11}  -{minus:>11}  {}", folder.folder));
    }
    table
}
