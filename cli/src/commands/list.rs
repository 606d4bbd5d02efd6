//! `list`: the backups of a policy.

use std::path::Path;

use clap::Args;
use intellistor::{Catalog, ListedBackup, OrphanArchive, Policy};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::hints;
use crate::output::Done;
use crate::restore_command::RestoreCommand;
use crate::selection::PolicyArgument;
use crate::session::Session;
use crate::units::counted;

/// List the backups of a policy, oldest first
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  backup-client list --policy policy.yaml

`key` is what restore, show, verify and decrypt take. `machine` is whose the policy is; `host` is where each backup was \
made, as its manifest says (not verified). No key is needed to list.")]
pub(crate) struct List {
    #[command(flatten)]
    policy: PolicyArgument,
    /// Also show archives without a manifest, and the command that restores each. The manifest was lost, or a run was
    /// stopped before it put one, or is about to
    #[arg(long)]
    orphans: bool,
}

#[derive(Serialize)]
struct Document {
    policy: String,
    store: String,
    /// The machine that the policy belongs to here; null where it was never run.
    machine: Option<MachineRow>,
    backups: Vec<Row>,
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

#[derive(Serialize)]
struct MachineRow {
    host: String,
    since: String,
}

#[derive(Serialize)]
struct Row {
    backup_id: String,
    timestamp: String,
    /// The machine that made it, by name; null where its manifest does not say.
    host: Option<String>,
    key: String,
    key_manifest: String,
    archive_bytes: u64,
    manifest_bytes: u64,
}

impl From<ListedBackup> for Row {
    fn from(listing: ListedBackup) -> Self {
        Self {
            key: listing.name.archive_key(),
            key_manifest: listing.name.manifest_key(),
            backup_id: listing.name.backup_id,
            timestamp: listing.name.timestamp,
            host: None,
            archive_bytes: listing.archive_bytes,
            manifest_bytes: listing.manifest_bytes,
        }
    }
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
    let catalog = session.open_catalog(&policy).await?;
    let found = session
        .unless_cancelled(async {
            let contents = catalog.contents(&policy.policy_id).await?;
            Ok((contents.backups().collect::<Vec<_>>(), contents.orphans().collect::<Vec<_>>()))
        })
        .await;
    let what = format!("cannot list the backups of policy {}", policy.policy_id);
    let (backups, orphans) = found.map_err(Failure::engine(what))?;
    if !orphans.is_empty() && !command.orphans {
        session.screen.note(format_args!(
            "{} without a manifest: `list --orphans` shows how to restore what is in it",
            counted(orphans.len() as u64, "archive")
        ));
    }
    let orphans = command.orphans.then(|| {
        let with_command = |orphan| Orphan::new(orphan, session, &command.policy.policy);
        orphans.into_iter().map(with_command).collect()
    });
    let names = backups.iter().map(|listing| listing.name.clone()).collect();
    let hosts = session.unless_cancelled(catalog.hosts(names)).await;
    let hosts = hosts.map_err(Failure::engine("cannot read which machines made the backups"))?;
    let rows = backups.into_iter().map(Row::from).zip(hosts);
    let backups = rows.map(|(row, host)| Row { host, ..row }).collect();
    let machine = owner(&catalog, &policy, session).await;
    let document = Document { policy: policy.policy_id, store: catalog.url(), machine, backups, orphans };
    Done::document(&document, Exit::Success)
}

/// A listing does not fail because the owner is unknown.
async fn owner(catalog: &Catalog, policy: &Policy, session: &Session) -> Option<MachineRow> {
    match session.unless_cancelled(catalog.owner(&policy.policy_id)).await {
        Ok(owner) => owner.map(|owner| MachineRow { host: owner.host, since: owner.since }),
        Err(error) => {
            session.screen.warn(format_args!(
                "it is not known which machine the policy belongs to: {}",
                hints::with_hint(&error)
            ));
            None
        }
    }
}
