//! `stats`: what a policy's backups take, and where the bytes are.

use clap::Args;
use indicatif::{BinaryBytes, HumanCount};
use intellistor::{StatsOptions, StatsReport};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::output::format::{FormatArgument, OutputFormat};
use crate::output::table::{Table, plain};
use crate::output::times;
use crate::selection::PolicySelection;
use crate::session::Session;
use crate::short_id;
use crate::units::counted;

/// Show what a policy's backups take in the store, what forgetting one would free, and the largest folders
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client stats --policy policy.yaml --format table
  backup-client stats --policy policy.yaml --depth 3 | jq '.folders[:5]'

An archive is deleted as a whole: `unique_bytes` are in archives that no other listed backup needs, and are what forgetting this \
backup alone would free; `shared_bytes` are in those that others need, too. `content_bytes` is what a backup would restore, \
`stored_bytes` what it has added. `reduction` is the bytes that all backups would restore, divided by those that they take; \
`compression` is the bytes that went into the archives when they were made, divided by the archives' own. \
Months are in UTC and count what is still listed. Sums are from the manifests' heads, of which only the newest is verified.
Exit code 3: some manifests could not be read (see `unread`). Exit code 4: one of them is damaged.")]
pub(crate) struct Stats {
    #[command(flatten)]
    policy: PolicySelection,
    /// How deep the folders are: 1 for those directly in the backed-up folder
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    depth: u32,
    /// How many folders
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    folders: u32,
    #[command(flatten)]
    format: FormatArgument,
}

pub(crate) async fn run(command: &Stats, session: &Session) -> Result<Done, Failure> {
    let format = command.format.of(&session.environment)?;
    let policy = session.selected_policy(&command.policy)?;
    let (catalog, identity) = session.open(&policy).await?;
    let options = StatsOptions { depth: command.depth as usize, folders: command.folders as usize };
    let summed = intellistor::stats(&catalog, &identity, &policy.policy_id, options);
    let what = format!("cannot sum up the backups of policy {}", policy.policy_id);
    let summed = session.unless_cancelled(summed).await;
    let report = summed.map_err(session.backup_failure(what, &command.policy, &[], None))?;
    for unread in &report.unread {
        session.screen.warn(format_args!("not counted: {}: {}", unread.backup.key, unread.reason));
    }
    let exit = match report.unread.iter().any(|unread| unread.damaged) {
        true => Exit::Integrity,
        false if report.unread.is_empty() => Exit::Success,
        false => Exit::Incomplete,
    };
    match format {
        OutputFormat::Json => Done::document(&report, exit),
        OutputFormat::Table => table(&report).print(exit),
    }
}

fn table(report: &StatsReport) -> Table {
    let length = short_id::length(report.backups.iter().map(|stats| stats.backup.backup_id.as_str()));
    let mut table = Table::new(["backup", "made", "kind", "files", "content", "stored", "unique", "shared"])
        .right_aligned(&[3, 4, 5, 6, 7])
        .shorter(1, times::without_zone)
        .shorter(1, |time| time.chars().take(10).collect())
        .optional(&[7, 2, 3, 4, 0]);
    let bytes = |bytes| plain(BinaryBytes(bytes));
    for stats in &report.backups {
        table.row([
            plain(short_id::short(&stats.backup.backup_id, length)),
            plain(times::of_timestamp(&stats.backup.timestamp)),
            plain(if stats.full { "full" } else { "incr." }),
            plain(HumanCount(stats.files)),
            bytes(stats.content_bytes),
            bytes(stats.stored_bytes),
            bytes(stats.unique_bytes),
            bytes(stats.shared_bytes),
        ]);
    }
    let totals = &report.totals;
    let backups = counted(totals.backups, "backup");
    table.note(format_args!(
        "{backups} of {} in {}, {}",
        BinaryBytes(totals.content_bytes),
        BinaryBytes(totals.stored_bytes),
        report.store
    ));
    table.note(format_args!(
        "reduced {:.1} times, compressed {:.1} times",
        totals.reduction, totals.compression
    ));
    for (bytes, what) in [
        (totals.forgotten_bytes, "only forgotten backups need"),
        (totals.orphan_bytes, "archives without a manifest have"),
    ] {
        if bytes > 0 {
            table.note(format_args!("{} that {what}", BinaryBytes(bytes)));
        }
    }
    table.note("by month: what was added, and what there was then");
    for month in &report.months {
        table.note(format_args!(
            "  {}  +{:>11}  {:>11}",
            month.month,
            BinaryBytes(month.stored_bytes).to_string(),
            BinaryBytes(month.stored_bytes_so_far).to_string()
        ));
    }
    if !report.folders.is_empty() {
        table.note("largest folders of the newest:");
    }
    for folder in &report.folders {
        table.note(format_args!("  {:>11}  {}", BinaryBytes(folder.bytes).to_string(), folder.folder));
    }
    table
}
