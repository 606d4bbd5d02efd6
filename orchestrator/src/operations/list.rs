//! Lists the backups of a policy. Needs no key; with one, what was said about backups is proven, and forgotten ones are left out.

use chrono::{DateTime, SecondsFormat, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use intellistor_storage::catalog::contents::{Contents, ListedBackup, OrphanArchive};
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::catalog::statements::{self, Forgotten, Found, Hold};
use intellistor_storage::keys::{OpensBackups, WrappedKey};
use intellistor_storage::manifest::Preamble;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::lifecycle::locking;

/// Statements and locks that are read concurrently.
const CONCURRENT: usize = 16;

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
    /// Oldest first. Without a key, also those that may be forgotten.
    pub backups: Vec<BackupRow>,
    /// Those that are forgotten, proven with a key; without one, those about which that is said. Oldest first.
    #[serde(skip)]
    pub forgotten: Vec<BackupRow>,
    /// What was said about a backup and proves nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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
    /// The id of the key that opens it, as its manifest says, or `passphrase`; not verified.
    pub key_id: Option<String>,
    /// The archive's key.
    pub key: String,
    /// The manifest's key.
    pub key_manifest: String,
    /// Size of the archive.
    pub archive_bytes: u64,
    /// Size of the manifest.
    pub manifest_bytes: u64,
    /// Whether `hold.json` says that it is held. With a key, whether that is proven, too.
    pub held: bool,
    /// Whether `hold.json` is proven with the key. Anyone who can write to the store may have put one that is not. `None` where
    /// there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_verified: Option<bool>,
    /// What `forgotten.json` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<ForgottenRow>,
    /// Until when its manifest can neither be deleted nor replaced; its archives are locked for longer, as far as the store
    /// did not refuse that. `None` where that was not [asked for](ListReport::look_up_locks), and where it is not locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<String>,
}

impl ListReport {
    /// Asks the store until when each backup is locked: a request for each.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn look_up_locks(&mut self, catalog: &Catalog) -> Result<()> {
        let keys: Vec<_> = self.backups.iter().map(|backup| backup.key_manifest.clone()).collect();
        let look = |key: String| async move { locking::locked_until(&*catalog.store, vec![key]).await };
        let until: Vec<_> = stream::iter(keys).map(look).buffered(CONCURRENT).try_collect().await?;
        for (backup, until) in self.backups.iter_mut().zip(until) {
            backup.locked_until = until.map(locking::shown);
        }
        Ok(())
    }
}

/// What is said about a forgotten backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForgottenRow {
    /// Whether it is proven with the key. Anyone who can write to the store may have said the rest otherwise.
    pub verified: bool,
    #[serde(flatten)]
    pub says: Option<ForgottenDetails>,
}

/// When, by whom, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForgottenDetails {
    /// In RFC 3339.
    pub time: String,
    pub by: String,
    pub why: String,
    /// From when on a sweep may delete it, in RFC 3339.
    pub prunable_from: String,
}

/// Lists what the store holds of a policy. With keys, what was said about its backups is proven.
///
/// # Errors
/// Those of the store. That the owner cannot be read is in the report.
pub async fn list(catalog: &Catalog, policy_id: &str, keys: Option<&dyn OpensBackups>) -> Result<ListReport> {
    let contents = catalog.contents(policy_id).await?;
    let listed: Vec<_> = contents.backups().collect();
    let preambles = catalog.preambles(listed.iter().map(|backup| backup.name.clone()).collect()).await?;
    let (owner, owner_error) = match catalog.owner(policy_id).await {
        Ok(owner) => (owner, None),
        Err(error) => (None, Some(error)),
    };
    let said = stream::iter(&listed).map(|backup| said(catalog, &contents, &backup.name, keys));
    let said: Vec<_> = said.buffered(CONCURRENT).try_collect().await?;
    let (mut backups, mut forgotten, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for ((backup, preamble), said) in listed.into_iter().zip(preambles).zip(said) {
        warnings.extend(said.warnings);
        let Said { held, held_verified, forgotten: is_forgotten, .. } = said;
        let row =
            BackupRow { held, held_verified, forgotten: is_forgotten, ..BackupRow::new(backup, preamble) };
        match (&row.forgotten, keys.is_some()) {
            (Some(ForgottenRow { verified: true, .. }), _) => forgotten.push(row),
            // It may be so.
            (Some(_), false) => {
                forgotten.push(row.clone());
                backups.push(row);
            }
            _ => backups.push(row),
        }
    }
    Ok(ListReport {
        policy: policy_id.to_owned(),
        store: catalog.url(),
        machine: owner.map(|owner| OwnerRow { host: owner.host, since: owner.since }),
        owner_error,
        backups,
        forgotten,
        warnings,
        orphans: contents.orphans().collect(),
    })
}

/// What is said about a backup, as its row has it.
#[derive(Default)]
struct Said {
    held: bool,
    held_verified: Option<bool>,
    forgotten: Option<ForgottenRow>,
    warnings: Vec<String>,
}

async fn said(
    catalog: &Catalog,
    contents: &Contents,
    name: &BackupName,
    keys: Option<&dyn OpensBackups>,
) -> Result<Said> {
    let has = |kind| contents.of_backup(name).is_some_and(|objects| objects.has(kind));
    let (may_be_forgotten, may_be_held) = (has(ObjectKind::Forgotten), has(ObjectKind::Hold));
    if !may_be_forgotten && !may_be_held {
        return Ok(Said::default());
    }
    let store = &*catalog.store;
    let Some(keys) = keys else {
        let hold = statements::read_unproven::<Hold>(store, name).await?;
        let mut forgotten = None;
        if may_be_forgotten {
            let says = statements::read_unproven::<Forgotten>(store, name).await?;
            forgotten = Some(ForgottenRow { verified: false, says: says.as_ref().map(details) });
        }
        let held_verified = may_be_held.then_some(false);
        let held = hold.is_some_and(|hold| hold.held);
        return Ok(Said { held, held_verified, forgotten, warnings: Vec::new() });
    };
    let standing = Standing::read(store, name, keys).await?;
    let forgotten = match (standing.forgotten(), &standing.forgotten) {
        (Some(forgotten), _) => Some(ForgottenRow { verified: true, says: Some(details(forgotten)) }),
        (None, Found::Unproven(_)) => Some(ForgottenRow { verified: false, says: None }),
        (None, _) => None,
    };
    let held_verified = match &standing.hold {
        Found::Nothing => None,
        hold => Some(matches!(hold, Found::Proven(_))),
    };
    Ok(Said { held: standing.held().is_some(), held_verified, forgotten, warnings: standing.unproven(name) })
}

fn details(Forgotten { time, by, why, prunable_from, .. }: &Forgotten) -> ForgottenDetails {
    let text = |time: &DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    ForgottenDetails {
        time: text(time),
        by: by.clone(),
        why: why.clone(),
        prunable_from: text(prunable_from),
    }
}

fn key_id(wraps: &[WrappedKey]) -> String {
    let one = |wrap: &WrappedKey| match wrap.is_of_passphrase() {
        true => "passphrase".to_owned(),
        false => wrap.key_id.to_string(),
    };
    wraps.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl BackupRow {
    fn new(
        ListedBackup { name, archive_bytes, manifest_bytes, .. }: ListedBackup,
        preamble: Option<Preamble>,
    ) -> Self {
        let key_id = preamble.as_ref().map(|preamble| key_id(preamble.header.keys()));
        Self {
            key: name.archive_key(),
            key_manifest: name.manifest_key(),
            backup_id: name.backup_id,
            timestamp: name.timestamp,
            host: preamble.map(|preamble| preamble.host),
            key_id,
            archive_bytes,
            manifest_bytes,
            held: false,
            held_verified: None,
            forgotten: None,
            locked_until: None,
        }
    }
}
