//! What a store holds: backups, archives without a manifest, and which machine owns a policy. Needs no key.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream as streams};
use intellistor_storage::RetryClass;
use intellistor_storage::catalog::contents::{Contents, ListedBackup};
use intellistor_storage::catalog::layout::{self, BackupName, ObjectKind};
use intellistor_storage::catalog::ownership::{self, Claim, Machine, Owner};
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::catalog::statements::Forgotten;
use intellistor_storage::keys::OpensBackups;
use intellistor_storage::manifest::Preamble;
use intellistor_storage::objects::{SharedStore, StoreUrl};

use crate::clock;
use crate::error::{Error, Result};
use crate::lifecycle::policy_store::PolicyStore;
use crate::machine::{self, TOOL};
use crate::policy::Policy;

/// Manifests that are read concurrently.
const CONCURRENT_READS: usize = 16;

/// A store, as one machine sees it.
#[derive(Debug, Clone)]
pub struct Catalog {
    pub(crate) store: SharedStore,
    pub(crate) machine: Machine,
}

impl Catalog {
    /// Opens a store. Nothing is read or written yet.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(url: &StoreUrl) -> Result<Self> {
        Ok(Self::new(url.open().await?))
    }

    /// Uses a store that is open already.
    pub fn new(store: SharedStore) -> Self {
        Self { store, machine: machine::this_machine() }
    }

    /// Backs up as another machine than [`this_machine`](crate::this_machine): one that containers share by a name.
    #[must_use]
    pub fn on_machine(self, machine: Machine) -> Self {
        Self { machine, ..self }
    }

    /// The same store, in which new objects get what the policy prescribes: its lock, its storage class. Every run writes
    /// through this.
    pub(crate) fn under(&self, policy: &Policy) -> Self {
        Self { store: PolicyStore::under(self.store.clone(), policy), machine: self.machine.clone() }
    }

    /// The store's URL.
    pub fn url(&self) -> String {
        self.store.url()
    }

    /// Folders of this machine where the store would be created, since they hold no backups: a disk that is not mounted
    /// looks the same.
    pub fn new_folders(&self) -> Vec<PathBuf> {
        let folders = self.store.folders().into_iter().filter(|folder| folder.id.is_none());
        folders.map(|folder| folder.path).filter(|path| !path.join(layout::BACKUPS).exists()).collect()
    }

    /// Makes sure that the policy is this machine's in the store, before anything else is written there.
    pub(crate) async fn claim(&self, policy_id: &str, take_over: bool) -> Result<Claim> {
        let claim = ownership::claim(&*self.store, policy_id, &self.machine, TOOL, take_over).await?;
        // The claim has shown that writing and reading are permitted. Publishing an archive also takes a HEAD, which a proxy
        // or a permission may refuse: better now than after everything was sent.
        self.store.head(&layout::machine_key(policy_id)).await?;
        Ok(claim)
    }

    /// Fails when the policy has become another machine's since it was claimed.
    pub(crate) async fn confirm(&self, policy_id: &str) -> Result<()> {
        Ok(ownership::confirm(&*self.store, policy_id, &self.machine).await?)
    }

    /// The machine that a policy belongs to in this store, if it was ever run.
    ///
    /// # Errors
    /// Those of the store; `UnreadableOwner` when what should say so is something else.
    pub(crate) async fn owner(&self, policy_id: &str) -> Result<Option<Owner>> {
        Ok(ownership::owner(&*self.store, policy_id).await?)
    }

    /// Where backups were made and with which keys they are sealed, in their order; `None` where a manifest does not say. Not
    /// verified: only the first lines of each manifest are read.
    ///
    /// # Errors
    /// Those of a store that cannot be reached.
    pub(crate) async fn preambles(&self, names: Vec<BackupName>) -> Result<Vec<Option<Preamble>>> {
        let peeks = streams::iter(names).map(|name| async move {
            match Preamble::fetch(&*self.store, &name).await {
                Ok(peeked) => Ok(Some(peeked)),
                Err(error) if error.retry_class() == RetryClass::Temporary => Err(error.into()),
                // A manifest that was altered, or that this account may not read, is listed all the same.
                Err(_) => Ok(None),
            }
        });
        peeks.buffered(CONCURRENT_READS).try_collect().await
    }

    /// The backups of a policy, oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, policy_id: &str) -> Result<Vec<ListedBackup>> {
        Ok(self.contents(policy_id).await?.backups().collect())
    }

    /// Everything that the store holds of a policy, archives without a manifest included.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn contents(&self, policy_id: &str) -> Result<Contents> {
        Ok(Contents::of(&*self.store, policy_id).await?)
    }

    /// The newest backup of a policy that is not forgotten and not dated in the future: one made under a wrong clock would stay the newest for
    /// years. The future begins a day from now, by the store's clock where it is known. Where all are in the future, this
    /// clock is wrong, and the newest of them counts.
    ///
    /// # Errors
    /// [`Error::NoBackup`], and those of the store.
    pub async fn latest(&self, policy_id: &str, keys: &dyn OpensBackups) -> Result<BackupName> {
        let contents = self.contents(policy_id).await?;
        let mut names: Vec<_> = contents.backups().map(|backup| backup.name).collect();
        while let Some(newest) = self.newest(names.clone()) {
            if !self.is_forgotten(&contents, &newest, keys).await? {
                return Ok(newest);
            }
            names.retain(|name| *name != newest);
        }
        Err(self.no_backup(policy_id, contents.orphans().count()))
    }

    /// As [`latest`](Self::latest), without a warning; `None` where there is no backup.
    pub(crate) async fn newest_before(
        &self,
        policy_id: &str,
        keys: &dyn OpensBackups,
    ) -> Result<Option<BackupName>> {
        let contents = self.contents(policy_id).await?;
        for name in self.in_order(&contents) {
            if !self.is_forgotten(&contents, &name, keys).await? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// The forgetting of a backup that counts, if there is one. `restore`, `show`, `verify` and `decrypt` work on it all the same.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn forgotten(&self, name: &BackupName, keys: &dyn OpensBackups) -> Result<Option<Forgotten>> {
        let standing = Standing::read(&*self.store, name, keys).await?;
        Ok(standing.forgotten().cloned())
    }

    /// Whether a backup is forgotten. What proves nothing is a warning, and hides nothing.
    pub(crate) async fn is_forgotten(
        &self,
        contents: &Contents,
        name: &BackupName,
        keys: &dyn OpensBackups,
    ) -> Result<bool> {
        if !contents.of_backup(name).is_some_and(|objects| objects.has(ObjectKind::Forgotten)) {
            return Ok(false);
        }
        let standing = Standing::read(&*self.store, name, keys).await?;
        for warning in standing.unproven(name) {
            tracing::warn!("{warning}");
        }
        Ok(standing.forgotten().is_some())
    }

    /// The backups of a policy, forgotten or not, newest first. Those dated in the future count only where all are.
    pub(crate) fn in_order(&self, contents: &Contents) -> Vec<BackupName> {
        self.newest_first(contents.backups().map(|backup| backup.name).collect())
    }

    /// `names` are sorted, oldest first. Those dated in the future count only where all are.
    pub(crate) fn newest_first(&self, mut names: Vec<BackupName>) -> Vec<BackupName> {
        let of_the_future = self.split_off_future(&mut names);
        let mut names = if names.is_empty() { of_the_future } else { names };
        names.reverse();
        names
    }

    /// As [`latest`](Self::latest), for archives, with or without a manifest.
    ///
    /// # Errors
    /// [`Error::NoBackup`], and those of the store.
    pub async fn latest_archive(&self, policy_id: &str) -> Result<BackupName> {
        let contents = self.contents(policy_id).await?;
        self.newest(contents.archives().cloned().collect()).ok_or_else(|| self.no_backup(policy_id, 0))
    }

    /// Removes the names dated in the future. `names` are sorted, oldest first.
    fn split_off_future(&self, names: &mut Vec<BackupName>) -> Vec<BackupName> {
        let now = self.store.now_ms().and_then(DateTime::from_timestamp_millis).unwrap_or_else(Utc::now);
        let newest = names.iter().rposition(|name| !clock::is_future(&name.timestamp, now));
        names.split_off(newest.map_or(0, |newest| newest + 1))
    }

    /// `names` are sorted, oldest first.
    fn newest(&self, mut names: Vec<BackupName>) -> Option<BackupName> {
        let of_the_future = self.split_off_future(&mut names);
        let passed_over = of_the_future.len();
        match (names.pop(), of_the_future.into_iter().next_back()) {
            (Some(newest), None) => Some(newest),
            (Some(newest), Some(future)) => {
                tracing::warn!(
                    passed_over,
                    of_the_future = future.timestamp,
                    chosen = newest.timestamp,
                    "skipping backups that are dated in the future; --key restores them"
                );
                Some(newest)
            }
            (None, Some(future)) => {
                tracing::warn!(
                    chosen = future.timestamp,
                    "every backup is dated in the future: this machine's clock may be wrong"
                );
                Some(future)
            }
            (None, None) => None,
        }
    }

    fn no_backup(&self, policy_id: &str, orphans: usize) -> Error {
        Error::NoBackup { policy_id: policy_id.to_owned(), store: self.url(), orphans }
    }
}
