//! A store and the key to the backups in it: the door to every operation.

use std::io::Write;
use std::sync::Arc;

use intellistor_actors::progress::Progress;
use intellistor_storage::archive::ArchiveReader;
use intellistor_storage::keys::UserKey;
use intellistor_storage::layout::BackupName;
use intellistor_storage::manifest::VerifiedManifest;
use intellistor_storage::objects::{Listing, SharedStore, StoreUrl};
use intellistor_telemetry::names::span;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};

use crate::backup::{self, BackupOptions, BackupReport};
use crate::operation::{root, traced};
use crate::policy::Policy;
use crate::restore::{self, RestoreOptions, RestoreReport};
use crate::stream;
use crate::verify::{self, VerifyReport};
use crate::{Error, Result, salvage};

/// What every operation may be given: who watches it, and who may stop it.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Counters to watch.
    pub progress: Arc<Progress>,
    /// Stops the operation; it then fails with [`Error::Interrupted`] and leaves nothing half done.
    pub cancel: CancellationToken,
}

/// A backup that exists: its manifest is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupListing {
    /// What names it.
    pub name: BackupName,
    /// Size of its archive, 0 when the archive is missing.
    pub archive_bytes: u64,
    /// Size of its manifest.
    pub manifest_bytes: u64,
}

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
        Self { store, key }
    }

    /// The store's URL.
    pub fn url(&self) -> String {
        self.store.url()
    }

    /// Backs up what the policy names. The backup exists once this has returned `Ok`.
    ///
    /// # Errors
    /// [`Error::Policy`] when a path is missing; those of the store; [`Error::Interrupted`].
    pub async fn backup(&self, policy: &Policy, options: BackupOptions) -> Result<BackupReport> {
        let policy_id = &policy.policy_id;
        let root = root!(span::BACKUP, policy_id, Empty);
        traced(span::BACKUP, policy_id, root, backup::backup(self, policy, options)).await
    }

    /// Restores a backup, whole or in part.
    ///
    /// # Errors
    /// Those of the store and the key; [`Error::NothingMatches`]; [`Error::Interrupted`]. Damage to single
    /// files is no error but in the report.
    pub async fn restore(&self, name: &BackupName, options: RestoreOptions) -> Result<RestoreReport> {
        let BackupName { policy_id, backup_id, .. } = name;
        let restored = async {
            if options.without_manifest {
                salvage::restore(self, name, options).await
            } else {
                restore::restore(self, name, options).await
            }
        };
        traced(span::RESTORE, policy_id, root!(span::RESTORE, policy_id, backup_id), restored).await
    }

    /// Checks every byte of a backup in the store against its seals and its manifest, without writing files.
    ///
    /// # Errors
    /// Those of the store and the key; `Integrity` names the first place that is not as it was sealed.
    pub async fn verify(&self, name: &BackupName, run: RunOptions) -> Result<VerifyReport> {
        let BackupName { policy_id, backup_id, .. } = name;
        let root = root!(span::VERIFY, policy_id, backup_id);
        traced(span::VERIFY, policy_id, root, verify::verify(self, name, run)).await
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
        traced(span::DECRYPT, policy_id, root!(span::DECRYPT, policy_id, backup_id), written).await
    }

    /// The backups of a policy, oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, policy_id: &str) -> Result<Vec<BackupListing>> {
        let prefix = BackupName::policy_prefix(policy_id);
        let mut listings = Vec::new();
        let mut archive: Option<(BackupName, u64)> = None;
        let mut pages = Listing::new(&*self.store, prefix);
        while let Some(objects) = pages.next_page().await? {
            for object in objects {
                // In the order of keys, a backup's archive stands right before its manifest.
                if let Some(name) = BackupName::from_archive_key(&object.key) {
                    archive = Some((name, object.bytes));
                } else if let Some(name) = BackupName::from_manifest_key(&object.key) {
                    let archive_bytes =
                        archive.take().filter(|(a, _)| *a == name).map_or(0, |(_, bytes)| bytes);
                    listings.push(BackupListing { name, archive_bytes, manifest_bytes: object.bytes });
                }
            }
        }
        Ok(listings)
    }

    /// The newest backup of a policy.
    ///
    /// # Errors
    /// [`Error::NoBackup`], and those of the store.
    pub async fn latest(&self, policy_id: &str) -> Result<BackupName> {
        let newest = self.list(policy_id).await?.pop();
        newest
            .map(|l| l.name)
            .ok_or_else(|| Error::NoBackup { policy_id: policy_id.to_owned(), store: self.url() })
    }

    /// A backup's manifest, verified.
    ///
    /// # Errors
    /// Those of the store and the key; `Integrity` when it was altered.
    pub async fn show(&self, name: &BackupName) -> Result<VerifiedManifest> {
        let fetch = VerifiedManifest::fetch(&*self.store, name, &self.key);
        Ok(fetch.instrument(info_span!(span::FETCH_MANIFEST)).await?)
    }
}
