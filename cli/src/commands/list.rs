//! `list`: the backups of a policy, or the policies of a store.

mod orphan;
mod policies;

use std::path::PathBuf;

use clap::Args;
use indicatif::BinaryBytes;
use intellistor::{BackupRow, ForgottenRow, ListReport, OpensBackups, StoreUrl};
use serde::Serialize;

use self::orphan::Orphan;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::hints;
use crate::output::format::{FormatArgument, OutputFormat};
use crate::output::table::{Table, Tone, plain};
use crate::output::{Done, times};
use crate::restore_command::PolicyWords;
use crate::selection::{PolicyFileOrId, PolicySelection, policy_id};
use crate::session::Session;
use crate::short_id;
use crate::units::counted;

/// List the backups of a policy, oldest first; or without a policy, all policies of a store
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client list --policy policy.yaml --format table
  backup-client list --policy policy.yaml --forgotten
  backup-client list --store s3://my-bucket/prefix
  backup-client list --store file:///mnt/nas --orphans

restore, show, verify and decrypt take a backup's `key` as --key, or the beginning of its id. `machine` is the machine that the \
policy belongs to; `host` is where each backup was made, and `key_id` which key opens it, according to its manifest (not verified). Where the policy has `lock`, \
`locked_until` is until when a backup can neither be deleted nor replaced. Listing needs no encryption key. With one, forgotten \
backups are left out where the key proves that they were forgotten; without one, they are listed, and `forgotten` has \
what is said about them, unverified. `held` is proven where `held_verified` is true.

Without a policy, `policies` has a line for each policy of the store: its machine, how many backups, the newest and the oldest, all \
bytes that it takes, and how many backups are held or forgotten, as is said there (not verified). `locked_until` is that of the \
newest backup.")]
pub(crate) struct List {
    /// The policy's file; without it and --policy-id, all policies of the store are listed
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The policy's id, where its file is not at hand, as on a new machine
    #[arg(long, value_name = "ID", value_parser = policy_id, conflicts_with = "policy")]
    policy_id: Option<String>,
    /// The store: s3://bucket/prefix or file:///folder. Without it, the policy's, or AWS_S3_BUCKET
    #[arg(long, value_name = "STORE", value_parser = StoreUrl::parse)]
    store: Option<StoreUrl>,
    /// Also show archives without a manifest, each with the command that restores it. Such a manifest was lost, or the run
    /// was stopped before it wrote one, or is about to write it
    #[arg(long)]
    orphans: bool,
    /// Show the forgotten backups instead: when, by whom and why, and from when on `prune` deletes them
    #[arg(long)]
    forgotten: bool,
    #[command(flatten)]
    format: FormatArgument,
}

#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    list: ListReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    orphans: Option<Vec<Orphan>>,
}

pub(crate) async fn run(command: &List, session: &Session) -> Result<Done, Failure> {
    let policy = PolicyFileOrId { policy: command.policy.clone(), policy_id: command.policy_id.clone() };
    if policy.policy.is_none() && policy.policy_id.is_none() {
        if command.forgotten {
            return Err(Failure::configuration("--forgotten lists the forgotten backups of one policy")
                .hint("name it with --policy or --policy-id; without them, `list` counts those of each"));
        }
        let store = command.store.as_ref();
        return policies::run(store, command.orphans, &command.format, session).await;
    }
    let selection = PolicySelection { policy, store: command.store.clone() };
    let policy = session.selected_policy(&selection)?;
    let (catalog, identity) = session.open_with_key_if_any(&policy).await?;
    let keys = identity.as_ref().map(|identity| identity as &dyn OpensBackups);
    let listed = session.unless_cancelled(intellistor::list(&catalog, &policy.policy_id, keys)).await;
    let what = format!("cannot list the backups of policy {}", policy.policy_id);
    let mut list = listed.map_err(Failure::engine(what))?;
    if policy.lock.is_some() {
        let looked_up = session.unless_cancelled(list.look_up_locks(&catalog)).await;
        looked_up.map_err(Failure::engine("cannot tell until when the backups are locked"))?;
    }
    if let Some(error) = &list.owner_error {
        session.screen.warn(format_args!(
            "cannot tell which machine the policy belongs to: {}",
            hints::with_hint(error)
        ));
    }
    list.warnings.iter().for_each(|warning| session.screen.warn(warning));
    if !list.forgotten.is_empty() && !command.forgotten {
        let forgotten = counted(list.forgotten.len() as u64, "forgotten backup");
        session.screen.note(match keys {
            Some(_) => format!("{forgotten} left out; `list --forgotten` shows them"),
            None => {
                format!("{forgotten} listed, since no key is configured to prove that they are forgotten")
            }
        });
    }
    if command.forgotten {
        list.backups = std::mem::take(&mut list.forgotten);
    }
    let orphans = std::mem::take(&mut list.orphans);
    if !orphans.is_empty() && !command.orphans {
        session.screen.note(format_args!(
            "{} without a manifest; `list --orphans` shows how to restore from there",
            counted(orphans.len() as u64, "archive")
        ));
    }
    let orphans = command.orphans.then(|| {
        let with_command = |orphan| Orphan::new(orphan, session, PolicyWords::from(&selection));
        orphans.into_iter().map(with_command).collect()
    });
    if list.backups.is_empty() && !command.forgotten {
        session.screen.note(format_args!(
            "{} has no backup of policy {}; `backup-client list` without --policy shows the policies that it has",
            list.store, list.policy
        ));
    }
    let document = Document { list, orphans };
    match command.format.of(&session.environment)? {
        OutputFormat::Json => Done::document(&document, Exit::Success),
        OutputFormat::Table => table(&document, command.forgotten).print(Exit::Success),
    }
}

fn table(document: &Document, is_of_forgotten: bool) -> Table {
    let backups = &document.list.backups;
    let length = short_id::length(backups.iter().map(|backup| backup.backup_id.as_str()));
    let mut table = Table::new(["backup", "made", "host", "archive", "state"])
        .right_aligned(&[3])
        .shorter(1, times::without_zone)
        .shorter(4, first_words)
        .optional(&[2, 3])
        .shrinking(4);
    for backup in backups {
        table.row([
            plain(short_id::short(&backup.backup_id, length)),
            plain(times::of_timestamp(&backup.timestamp)),
            plain(backup.host.as_deref().unwrap_or("-")),
            plain(BinaryBytes(backup.archive_bytes)),
            state(backup),
        ]);
    }
    let what = if is_of_forgotten { "forgotten backup" } else { "backup" };
    let count = counted(backups.len() as u64, what);
    table.note(format_args!("{count} of policy {} in {}", document.list.policy, document.list.store));
    if let Some(machine) = &document.list.machine {
        table.note(format_args!("machine {} since {}", machine.host, times::of_rfc3339(&machine.since)));
    }
    document.orphans.iter().flatten().for_each(|orphan| orphan.note(&mut table));
    table
}

/// A state without its reason and its dates.
fn first_words(state: &str) -> String {
    state.split([',', ' ']).next().unwrap_or_default().to_owned()
}

fn state(backup: &BackupRow) -> (String, Tone) {
    if let Some(ForgottenRow { verified, says }) = &backup.forgotten {
        let why = says.as_ref().map_or(String::new(), |says| {
            format!(", {}; deleted from {} on", says.why, times::of_rfc3339(&says.prunable_from))
        });
        let forgotten = if *verified { "forgotten" } else { "forgotten?" };
        return (format!("{forgotten}{why}"), Tone::Faint);
    }
    match (backup.held, &backup.locked_until) {
        (true, _) => ("held".to_owned(), Tone::Good),
        (false, Some(until)) => (format!("locked until {}", times::of_rfc3339(until)), Tone::Good),
        (false, None) => plain(""),
    }
}

#[cfg(test)]
mod tests {
    use intellistor::{ForgottenDetails, ListReport, OwnerRow};

    use super::*;
    use crate::output::table::Surface;

    fn row(backup_id: &str, timestamp: &str) -> BackupRow {
        BackupRow {
            backup_id: backup_id.to_owned(),
            timestamp: timestamp.to_owned(),
            host: Some("servidor-de-arquivos".to_owned()),
            key_id: None,
            key: "k".to_owned(),
            key_manifest: "m".to_owned(),
            archive_bytes: 5 << 20,
            manifest_bytes: 1,
            held: false,
            held_verified: None,
            forgotten: None,
            locked_until: None,
        }
    }

    fn document() -> Document {
        let held = BackupRow { held: true, ..row("0192f3a1-7c31-7000", "20261125T050000Z") };
        let says = ForgottenDetails {
            time: "2026-11-26T05:00:00Z".into(),
            by: "ana".into(),
            why: "made by mistake".into(),
            prunable_from: "2026-12-04T05:00:00Z".into(),
        };
        let forgotten = Some(ForgottenRow { verified: false, says: Some(says) });
        let forgotten = BackupRow { forgotten, ..row("0192f3a2-7c31-7000", "20261126T050000Z") };
        let list = ListReport {
            policy: "mvp-default".into(),
            store: "file:///mnt/nas".into(),
            machine: Some(OwnerRow { host: "db01".into(), since: "2026-01-01T00:00:00Z".into() }),
            owner_error: None,
            backups: vec![held, forgotten],
            forgotten: Vec::new(),
            warnings: Vec::new(),
            orphans: Vec::new(),
        };
        Document { list, orphans: None }
    }

    #[test]
    fn the_table_reads_well_at_every_width() {
        for width in [40, 80, 120] {
            let text = table(&document(), false).render(Surface::plain(width));
            let lines: Vec<_> = text.lines().take(3).collect();
            assert!(lines.iter().all(|line| line.chars().count() <= width.into()), "{text}");
            assert!(lines[1].starts_with("0192f3a1  2026-11-2") && lines[1].contains("held"), "{text}");
            assert!(lines[2].contains("forg") && (width < 80 || lines[2].contains("5.00 MiB")), "{text}");
        }
        let wide = table(&document(), false).render(Surface::plain(140));
        assert!(wide.contains("servidor-de-arquivos") && wide.contains("made by mistake"), "{wide}");
    }
}
