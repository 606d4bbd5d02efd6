//! What the target has of the policy, and what a sweep may take from there.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use intellistor_storage::catalog::contents::Contents;
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::Head;
use intellistor_storage::objects::ObjectStore;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::lifecycle::scope::Scope;

/// Publish law (must): between the look and the put at most an hour passes. Half of it is left to copy the archives in.
const FRESH: Duration = Duration::from_secs(30 * 60);
/// What was forgotten at most so long ago is not swept within an hour: a sweep waits two days at least.
const JUST_FORGOTTEN: TimeDelta = TimeDelta::days(1);

/// The store that backups are copied to.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) catalog: &'a Catalog,
    identity: &'a Identity,
    policy_id: &'a str,
    contents: Contents,
    listed: Instant,
    /// By the store's clock where it has one.
    listed_at: DateTime<Utc>,
}

impl<'a> Target<'a> {
    pub(super) async fn open(
        catalog: &'a Catalog,
        identity: &'a Identity,
        policy_id: &'a str,
    ) -> Result<Self> {
        // Read before the listing, which may be the first answer: what is not later than it is not stale.
        let (listed, listed_at) = (Instant::now(), Scope { catalog, keys: identity, policy_id }.now());
        let contents = catalog.contents(policy_id).await?;
        Ok(Self { catalog, identity, policy_id, contents, listed, listed_at })
    }

    pub(super) fn store(&self) -> &'a dyn ObjectStore {
        &*self.catalog.store
    }

    pub(super) fn scope(&self) -> Scope<'a> {
        Scope { catalog: self.catalog, keys: self.identity, policy_id: self.policy_id }
    }

    /// The size of an object, as it was listed.
    pub(super) fn bytes(&self, name: &BackupName, kind: ObjectKind) -> Option<u64> {
        self.contents.of_backup(name)?.bytes(kind)
    }

    /// Looks again where the look is too old to publish by.
    pub(super) async fn refresh(&mut self) -> Result<()> {
        if self.listed.elapsed() >= FRESH || self.is_stale() {
            *self = Self::open(self.catalog, self.identity, self.policy_id).await?;
        }
        Ok(())
    }

    /// Whether more than an hour has passed since the look, by the store's clock: this process may have been stopped.
    pub(super) fn is_stale(&self) -> bool {
        self.scope().now() - self.listed_at > TimeDelta::hours(1)
    }

    /// What is said about a backup in the target.
    pub(super) async fn standing(&self, name: &BackupName) -> Result<Standing> {
        match self.bytes(name, ObjectKind::Forgotten) {
            None => Ok(Standing::UNTOUCHED),
            Some(_) => self.scope().standing(name).await,
        }
    }

    /// Why a sweep may delete an archive that a manifest is about to name; `None` where none can.
    ///
    /// A sweep deletes the archive of a backup that was forgotten days ago and that no manifest names. So what was never
    /// forgotten is safe, what was forgotten just now is, and what a listed base names is: it is newer than all.
    pub(super) async fn threat(&self, name: &BackupName, head: &Head) -> Result<Option<String>> {
        let mut overdue = None;
        for archive in &head.archives {
            let Some(of_archive) = BackupName::from_archive_key(&archive.key) else { continue };
            // That the copy's own backup was forgotten is for its caller to know; its archive is as safe as others.
            let standing = self.standing(&of_archive).await?;
            let Some(forgotten) = standing.forgotten() else { continue };
            if forgotten.sweeping {
                return Ok(Some(format!("a sweep is deleting {} there", archive.key)));
            }
            if self.scope().now() - forgotten.time > JUST_FORGOTTEN {
                overdue.get_or_insert_with(|| {
                    let since = forgotten.time.format("%Y-%m-%d");
                    format!(
                        "{} was forgotten there on {since}, and a sweep may delete it at any time",
                        archive.key
                    )
                });
            }
        }
        match overdue {
            Some(_) if self.lists_base_of(name, head).await? => Ok(None),
            overdue => Ok(overdue),
        }
    }

    /// Whether the base of a backup is listed in the target: what that names cannot be swept within an hour.
    async fn lists_base_of(&self, name: &BackupName, head: &Head) -> Result<bool> {
        let Some(base) = &head.base else { return Ok(false) };
        let of_id = |found: &&BackupName| found.backup_id == base.backup_id && *found != name;
        let Some((base, objects)) = self.contents.all().find(|(found, _)| of_id(found)) else {
            return Ok(false);
        };
        if !objects.has(ObjectKind::Manifest) {
            return Ok(false);
        }
        Ok(match self.standing(base).await?.forgotten() {
            None => true,
            Some(forgotten) => !forgotten.sweeping && self.scope().now() - forgotten.time <= JUST_FORGOTTEN,
        })
    }
}
