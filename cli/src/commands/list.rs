//! `list`: the backups of a policy.

use clap::Args;
use intellistor::BackupListing;
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

`key` is what restore, show, verify and decrypt take. No key is needed to list.")]
pub(crate) struct List {
    #[command(flatten)]
    policy: PolicyArgument,
}

#[derive(Serialize)]
struct Document {
    policy: String,
    store: String,
    backups: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    backup_id: String,
    timestamp: String,
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
    let backups = listings.into_iter().map(Row::from).collect();
    Done::document(&Document { policy: policy.policy_id, store: vault.url(), backups }, Exit::Success)
}
