//! A store and the key to the backups in it: the door to every operation.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream as streams};
use intellistor_actors::progress::Progress;
use intellistor_storage::RetryClass;
use intellistor_storage::archive::ArchiveReader;
use intellistor_storage::keys::UserKey;
use intellistor_storage::layout::{self, BackupName};
use intellistor_storage::manifest::{Peeked, VerifiedManifest};
use intellistor_storage::objects::{SharedStore, StoreUrl};
use intellistor_storage::ownership::{self, Machine, Owner};
use intellistor_storage::{Error as StorageError, StoreErrorKind};
use intellistor_telemetry::names::span;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};

use crate::backup::{self, BackupOptions, BackupReport};
use crate::holdings::{BackupListing, Holdings};
use crate::operation::{root, traced};
use crate::policy::Policy;
use crate::publish::TOOL;
use crate::restore::{self, RestoreOptions, RestoreReport};
use crate::stream;
use crate::verify::{self, VerifyReport};
use crate::{Error, Result, alerts, clock, machine, salvage};

/// What every operation may be given: who watches it, and who may stop it.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Counters to watch.
    pub progress: Arc<Progress>,
    /// Stops the operation; it then fails with [`Error::Interrupted`] and leaves nothing half done.
    pub cancel: CancellationToken,
}

/// So many manifests are looked into at once.
const PEEKED_AT_ONCE: usize = 16;

/// What [`Vault::decrypt`] wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecryptReport {
    /// Bytes of `tar.gz`.
    pub bytes_written: u64,
    /// Frames.
    pub frames: u64,
}

/// A store and the key to the backups in it.
#[derive(Debug, Clone)]
pub struct Vault {
    pub(crate) store: SharedStore,
    pub(crate) key: UserKey,
    pub(crate) machine: Machine,
}

impl Vault {
    /// Opens a store. Nothing is read or written yet.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(url: &StoreUrl, key: UserKey) -> Result<Self> {
        Ok(Self::new(url.open().await?, key))
    }

    /// Uses a store that is open already.
    pub fn new(store: SharedStore, key: UserKey) -> Self {
        Self { store, key, machine: machine::this_machine() }
    }

    /// Backs up as another machine than [`this_machine`](crate::this_machine): one that containers share by a name.
    #[must_use]
    pub fn on_machine(self, machine: Machine) -> Self {
        Self { machine, ..self }
    }

    /// The store's URL.
    pub fn url(&self) -> String {
        self.store.url()
    }

    /// Folders of this machine that the store would be begun in, since they hold no backups: a disk that is not mounted
    /// looks the same.
    pub fn new_folders(&self) -> Vec<PathBuf> {
        let folders = self.store.folders().into_iter().filter(|folder| folder.id.is_none());
        folders.map(|folder| folder.path).filter(|path| !path.join(layout::BACKUPS).exists()).collect()
    }

    /// Backs up what the policy names. The backup exists once this has returned `Ok`.
    ///
    /// # Errors
    /// [`Error::Policy`] when a path is missing; those of the store; [`Error::Interrupted`].
    pub async fn backup(&self, policy: &Policy, options: BackupOptions) -> Result<BackupReport> {
        let policy_id = &policy.policy_id;
        let root = root!(span::BACKUP, policy_id, Empty);
        let cancel = options.run.cancel.clone();
        let made = stopped_by(&cancel, backup::backup(self, policy, options));
        traced(span::BACKUP, policy_id, root, made).await
    }

    /// Makes sure that the policy is this machine's in the store, before anything else is written there. Gives what a
    /// person has to look at.
    pub(crate) async fn claim(&self, policy_id: &str, take_over: bool) -> Result<Option<String>> {
        let claim = ownership::claim(&*self.store, policy_id, &self.machine, TOOL, take_over).await?;
        // That writing and reading are permitted has been shown. A look at an archive, without which it is not published,
        // is a request of its own, which something between may refuse: better before than after it was sent.
        self.store.head(&layout::machine_key(policy_id)).await?;
        let alert = alerts::of_claim(claim, policy_id, self.machine.host());
        if let Some(alert) = &alert {
            tracing::warn!("{alert}");
        }
        Ok(alert)
    }

    /// Fails when the policy has become another machine's since it was claimed.
    pub(crate) async fn confirm(&self, policy_id: &str) -> Result<()> {
        Ok(ownership::confirm(&*self.store, policy_id, &self.machine).await?)
    }

    /// The machine that a policy belongs to in this store, if it was ever run.
    ///
    /// # Errors
    /// Those of the store; `UnreadableOwner` when what should say so is something else.
    pub async fn owner(&self, policy_id: &str) -> Result<Option<Owner>> {
        Ok(ownership::owner(&*self.store, policy_id).await?)
    }

    /// The machines that made backups, by name, in their order; `None` where a manifest does not say. Nothing is
    /// verified: of each manifest the first lines are read.
    ///
    /// # Errors
    /// Those of a store that cannot be reached.
    pub async fn hosts(&self, names: Vec<BackupName>) -> Result<Vec<Option<String>>> {
        let peeks = streams::iter(names).map(|name| async move {
            match Peeked::fetch(&*self.store, &name).await {
                Ok(peeked) => Ok(Some(peeked.host)),
                Err(error) if error.retry_class() == RetryClass::Temporary => Err(error.into()),
                // One that was altered, or that this user may not read, is listed all the same.
                Err(_) => Ok(None),
            }
        });
        peeks.buffered(PEEKED_AT_ONCE).try_collect().await
    }

    /// Restores a backup, whole or in part.
    ///
    /// # Errors
    /// Those of the store and the key; [`Error::NothingMatches`]; [`Error::Interrupted`]. Damage to single
    /// files is no error but in the report.
    pub async fn restore(&self, name: &BackupName, options: RestoreOptions) -> Result<RestoreReport> {
        let BackupName { policy_id, backup_id, .. } = name;
        let cancel = options.run.cancel.clone();
        let restored = async {
            if options.without_manifest {
                salvage::restore(self, name, options).await
            } else {
                restore::restore(self, name, options).await
            }
        };
        let restored = stopped_by(&cancel, restored);
        traced(span::RESTORE, policy_id, root!(span::RESTORE, policy_id, backup_id), restored).await
    }

    /// Checks every byte of a backup in the store against its seals and its manifest, without writing files.
    ///
    /// # Errors
    /// Those of the store and the key; `Integrity` names the first place that is not as it was sealed.
    pub async fn verify(&self, name: &BackupName, run: RunOptions) -> Result<VerifyReport> {
        let BackupName { policy_id, backup_id, .. } = name;
        let root = root!(span::VERIFY, policy_id, backup_id);
        let cancel = run.cancel.clone();
        let verified = stopped_by(&cancel, verify::verify(self, name, run));
        traced(span::VERIFY, policy_id, root, verified).await
    }

    /// Writes a backup as plain `tar.gz`.
    ///
    /// # Errors
    /// Those of the store and the key, and of `out`.
    pub async fn decrypt(
        &self,
        name: &BackupName,
        mut out: Box<dyn Write + Send>,
        run: RunOptions,
    ) -> Result<DecryptReport> {
        let key = self.key.clone();
        let BackupName { policy_id, backup_id, .. } = name;
        let expected = name.clone();
        let cancel = run.cancel.clone();
        let written = stream::read_archive(self.store.clone(), name.archive_key(), run, move |source| {
            let failed = |e| intellistor_storage::Error::io("write", "the output")(e);
            let mut archive = ArchiveReader::open(source, &expected, &key)?;
            let mut report = DecryptReport::default();
            while let Some(frame) = archive.next_frame()? {
                out.write_all(&frame.gzip).map_err(failed)?;
                report.bytes_written += frame.gzip.len() as u64;
                report.frames += 1;
            }
            out.flush().map_err(failed)?;
            Ok(report)
        });
        let written = stopped_by(&cancel, written);
        traced(span::DECRYPT, policy_id, root!(span::DECRYPT, policy_id, backup_id), written).await
    }

    /// The backups of a policy, oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, policy_id: &str) -> Result<Vec<BackupListing>> {
        Ok(self.holdings(policy_id).await?.backups().collect())
    }

    /// All that the store holds of a policy, archives without a manifest included.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn holdings(&self, policy_id: &str) -> Result<Holdings> {
        Holdings::of(&*self.store, policy_id).await
    }

    /// The newest backup of a policy that is not of the future: one whose clock was ahead would stay the newest for
    /// years. The future begins a day from now, by the store's clock where it is known. Where all are of the future, this
    /// clock is wrong, and the newest of them is it.
    ///
    /// # Errors
    /// [`Error::NoBackup`], and those of the store.
    pub async fn latest(&self, policy_id: &str) -> Result<BackupName> {
        let holdings = self.holdings(policy_id).await?;
        let newest = self.newest(holdings.backups().map(|backup| backup.name).collect());
        newest.ok_or_else(|| self.no_backup(policy_id, holdings.orphans().count()))
    }

    /// As [`latest`](Self::latest), without a word about those of the future; None where there is none.
    pub(crate) async fn newest_before(&self, policy_id: &str) -> Result<Option<BackupName>> {
        let holdings = self.holdings(policy_id).await?;
        let mut names = holdings.backups().map(|backup| backup.name).collect();
        let of_the_future = self.split_off_future(&mut names);
        Ok(names.pop().or_else(|| of_the_future.into_iter().next_back()))
    }

    /// As [`latest`](Self::latest), of archives, whether or not they have a manifest.
    ///
    /// # Errors
    /// [`Error::NoBackup`], and those of the store.
    pub async fn latest_archive(&self, policy_id: &str) -> Result<BackupName> {
        let holdings = self.holdings(policy_id).await?;
        self.newest(holdings.archives().cloned().collect()).ok_or_else(|| self.no_backup(policy_id, 0))
    }

    /// Takes from names, oldest first, those of the future.
    fn split_off_future(&self, names: &mut Vec<BackupName>) -> Vec<BackupName> {
        let now = self.store.now_ms().and_then(DateTime::from_timestamp_millis).unwrap_or_else(Utc::now);
        let newest = names.iter().rposition(|name| !clock::is_future(&name.timestamp, now));
        names.split_off(newest.map_or(0, |newest| newest + 1))
    }

    /// Of names, oldest first.
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
                    "backups that are dated in the future are passed over; --key restores them"
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

    /// A backup's manifest, verified.
    ///
    /// # Errors
    /// Those of the store and the key; [`Error::ManifestLost`] when it is missing or was altered, and the archive is there.
    pub async fn show(&self, name: &BackupName) -> Result<VerifiedManifest> {
        let fetch = VerifiedManifest::fetch(&*self.store, name, &self.key);
        let source = match fetch.instrument(info_span!(span::FETCH_MANIFEST)).await {
            Ok(manifest) => return Ok(manifest),
            Err(error) => error,
        };
        let is_lost = match &source {
            StorageError::Integrity { .. } | StorageError::OtherBackup { .. } => true,
            StorageError::Store(error) => error.kind == StoreErrorKind::NotFound,
            _ => false,
        };
        // Should the store not answer this, the first error is the one that counts.
        if is_lost && matches!(self.store.head(&name.archive_key()).await, Ok(Some(_))) {
            return Err(Error::ManifestLost { name: name.clone(), source: Box::new(source) });
        }
        Err(source.into())
    }
}

/// An operation that was stopped amid the pauses of a store that fails was stopped, whatever the store's last error.
async fn stopped_by<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    match work.await {
        Err(Error::Storage(intellistor_storage::Error::Store(_))) if cancel.is_cancelled() => {
            Err(Error::Interrupted)
        }
        done => done,
    }
}
