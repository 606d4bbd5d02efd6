//! `list`: the backups of a policy.

use clap::Args;
use intellistor::{BackupListing, Policy, Vault};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::selection::PolicyArgument;
use crate::session::Session;

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
}

#[derive(Serialize)]
struct Document {
    policy: String,
    store: String,
    /// The machine that the policy belongs to here; null where it was never run.
    machine: Option<MachineRow>,
    backups: Vec<Row>,
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

impl From<BackupListing> for Row {
    fn from(listing: BackupListing) -> Self {
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

pub(crate) async fn run(command: &List, session: &Session) -> Result<Done, Failure> {
    let policy = session.policy(&command.policy.policy)?;
    let vault = session.open_without_key(&policy).await?;
    let listings = session.unless_cancelled(vault.list(&policy.policy_id)).await;
    let listings = listings
        .map_err(Failure::engine(format!("cannot list the backups of policy {}", policy.policy_id)))?;
    let names = listings.iter().map(|listing| listing.name.clone()).collect();
    let hosts = session.unless_cancelled(vault.hosts(names)).await;
    let hosts = hosts.map_err(Failure::engine("cannot read which machines made the backups"))?;
    let rows = listings.into_iter().map(Row::from).zip(hosts);
    let backups = rows.map(|(row, host)| Row { host, ..row }).collect();
    let machine = owner(&vault, &policy, session).await;
    Done::document(
        &Document { policy: policy.policy_id, store: vault.url(), machine, backups },
        Exit::Success,
    )
}

/// A listing is for whoever may read; that nobody can say whose the policy is does not end it.
async fn owner(vault: &Vault, policy: &Policy, session: &Session) -> Option<MachineRow> {
    match session.unless_cancelled(vault.owner(&policy.policy_id)).await {
        Ok(owner) => owner.map(|owner| MachineRow { host: owner.host, since: owner.since }),
        Err(error) => {
            session.screen.warn(format_args!("it is not known which machine the policy belongs to: {error}"));
            None
        }
    }
}
