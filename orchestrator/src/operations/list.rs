//! Lists the backups of a policy. Needs no key.

use intellistor_storage::catalog::contents::{ListedBackup, OrphanArchive};
use serde::Serialize;

use crate::catalog::Catalog;
use crate::error::{Error, Result};

/// Its serde form is the JSON that `list` prints, but for the commands that restore archives without a manifest.
#[derive(Debug, Serialize)]
pub struct ListReport {
    /// The policy's id.
    pub policy: String,
    /// The store's URL.
    pub store: String,
    /// The machine that the policy belongs to; `None` where it was never run, or where that is unknown.
    pub machine: Option<OwnerRow>,
    /// Why the owner is unknown.
    #[serde(skip)]
    pub owner_error: Option<Error>,
    /// Oldest first.
    pub backups: Vec<BackupRow>,
    /// Archives without a manifest, oldest first.
    #[serde(skip)]
    pub orphans: Vec<OrphanArchive>,
}

/// The owner of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnerRow {
    /// The machine's name.
    pub host: String,
    /// When it claimed the policy.
    pub since: String,
}

/// A backup in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupRow {
    /// Names the backup, with the timestamp.
    pub backup_id: String,
    /// Names the run.
    pub timestamp: String,
    /// The machine that made it, as its manifest says; not verified.
    pub host: Option<String>,
    /// The archive's key.
    pub key: String,
    /// The manifest's key.
    pub key_manifest: String,
    /// Size of the archive.
    pub archive_bytes: u64,
    /// Size of the manifest.
    pub manifest_bytes: u64,
}

/// Lists what the store holds of a policy.
///
/// # Errors
/// Those of the store. That the owner cannot be read is in the report.
pub async fn list(catalog: &Catalog, policy_id: &str) -> Result<ListReport> {
    let contents = catalog.contents(policy_id).await?;
    let listed: Vec<_> = contents.backups().collect();
    let hosts = catalog.hosts(listed.iter().map(|backup| backup.name.clone()).collect()).await?;
    let (owner, owner_error) = match catalog.owner(policy_id).await {
        Ok(owner) => (owner, None),
        Err(error) => (None, Some(error)),
    };
    Ok(ListReport {
        policy: policy_id.to_owned(),
        store: catalog.url(),
        machine: owner.map(|owner| OwnerRow { host: owner.host, since: owner.since }),
        owner_error,
        backups: listed.into_iter().zip(hosts).map(|(backup, host)| BackupRow::new(backup, host)).collect(),
        orphans: contents.orphans().collect(),
    })
}

impl BackupRow {
    fn new(
        ListedBackup { name, archive_bytes, manifest_bytes, .. }: ListedBackup,
        host: Option<String>,
    ) -> Self {
        Self {
            key: name.archive_key(),
            key_manifest: name.manifest_key(),
            backup_id: name.backup_id,
            timestamp: name.timestamp,
            host,
            archive_bytes,
            manifest_bytes,
        }
    }
}
