//! `list`: the backups of a policy.

use std::path::Path;

use clap::Args;
use indicatif::BinaryBytes;
use intellistor::{ListReport, OpensBackups, OrphanArchive};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::hints;
use crate::output::format::{FormatArgument, OutputFormat};
use crate::output::table::{Table, Tone, plain};
use crate::output::{Done, times};
use crate::restore_command::RestoreCommand;
use crate::selection::PolicyArgument;
use crate::session::Session;
use crate::units::counted;

/// List the backups of a policy, oldest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client list --policy policy.yaml
  backup-client list --policy policy.yaml --forgotten

restore, show, verify and decrypt take a backup's `key` as --key. `machine` is the machine that the policy belongs to; \
`host` is where each backup was made, and `key_id` which key opens it, according to its manifest (not verified). Where the policy has `lock`, `locked_until` \
is until when a backup can neither be deleted nor replaced. Listing needs no encryption key. With one, forgotten \
backups are left out where the key proves that they were forgotten; without one, they are listed, and `forgotten` has \
what is said about them, unverified. `held` is proven where `held_verified` is true.")]
pub(crate) struct List {
    #[command(flatten)]
    policy: PolicyArgument,
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

/// An archive without a manifest.
#[derive(Serialize)]
struct Orphan {
    backup_id: String,
    timestamp: String,
    key: String,
    archive_bytes: u64,
    cli_restore: String,
}

impl Orphan {
    fn new(OrphanArchive { name, archive_bytes }: OrphanArchive, session: &Session, policy: &Path) -> Self {
        let key = name.archive_key();
        let restore = session.restore_command(policy, &key);
        let cli_restore = RestoreCommand { without_manifest: true, ..restore }.line();
        Self { backup_id: name.backup_id, timestamp: name.timestamp, key, archive_bytes, cli_restore }
    }
}

pub(crate) async fn run(command: &List, session: &Session) -> Result<Done, Failure> {
    let policy = session.policy(&command.policy.policy)?;
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
        let with_command = |orphan| Orphan::new(orphan, session, &command.policy.policy);
        orphans.into_iter().map(with_command).collect()
    });
    let document = Document { list, orphans };
    match command.format.of(&session.environment)? {
        OutputFormat::Json => Done::document(&document, Exit::Success),
        OutputFormat::Table => table(&document).print(Exit::Success),
    }
}

fn table(document: &Document) -> Table {
    let mut table = Table::new(["backup", "made", "host", "archive", "state"]).right_aligned(&[3]);
    for backup in &document.list.backups {
        let state = if backup.held { ("held".to_owned(), Tone::Good) } else { plain("") };
        table.row([
            plain(&backup.backup_id),
            plain(times::of_timestamp(&backup.timestamp)),
            plain(backup.host.as_deref().unwrap_or("-")),
            plain(BinaryBytes(backup.archive_bytes)),
            state,
        ]);
    }
    table.note(format_args!(
        "{} of policy {} in {}",
        counted(document.list.backups.len() as u64, "backup"),
        document.list.policy,
        document.list.store
    ));
    table
}
