//! The copy that `--out` asks for: a folder, laid out as a store.
//!
//! Parts are copied as they go to the store. When the backup exists, the copy is completed: what it lacks, because the job
//! was begun without it or the folder was missing for a while, is read from the store and compared with the digests in
//! the manifest. The copy's manifest comes last, so that half a copy never looks whole. A copy that fails is a warning
//! of a backup that was made.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use intellistor_actors::progress::Progress;
use intellistor_storage::archive::{Header, SegmentRecord};
use intellistor_storage::keys::DataKey;
use intellistor_storage::manifest::{ManifestDocuments, put_manifest};
use intellistor_storage::objects::{
    LocalStore, ObjectStore, ObjectStoreExt as _, SharedStore, StoreFolder, Tee,
};
use intellistor_storage::{Error as Storage, StoreError, StoreErrorKind};
use tokio_util::sync::CancellationToken;

use crate::advice::with_advice;
use crate::error::{Error, Result};
use crate::operations::archive_copy::{self, ArchiveSource, copy_archive, furthest};
use crate::operations::provenance::{self, Provenance};

/// The backup of which copies are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CopySource<'a> {
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) header: &'a Header,
    pub(crate) data_key: &'a DataKey,
    pub(crate) segments: &'a [&'a SegmentRecord],
    /// The archives that the backup depends on, by key and size.
    pub(crate) dependencies: &'a [(&'a str, u64)],
}

/// The copies that a run makes.
#[derive(Debug, Default)]
pub(crate) struct Copies(Vec<FolderCopy>);

#[derive(Debug)]
struct FolderCopy {
    folder: PathBuf,
    /// The id of the store that earlier runs wrote to, where it is known.
    expected: Option<String>,
    tee: Mutex<Option<Arc<Tee>>>,
    /// Why it was abandoned.
    failure: Mutex<Option<String>>,
}

impl Copies {
    /// One copy for each folder.
    pub(crate) fn new<'f>(folders: impl IntoIterator<Item = &'f Path>) -> Self {
        let mut copies: Vec<FolderCopy> = Vec::new();
        for folder in folders {
            let folder = absolute(folder);
            if copies.iter().all(|copy| copy.folder != folder) {
                let (tee, failure) = Default::default();
                copies.push(FolderCopy { folder, expected: None, tee, failure });
            }
        }
        Self(copies)
    }

    /// Accepts a folder only if it is the store that is known; where `None` is known, any store.
    pub(crate) fn expect<E>(
        &mut self,
        known: impl Fn(&Path) -> std::result::Result<Option<String>, E>,
    ) -> std::result::Result<(), E> {
        for copy in &mut self.0 {
            copy.expected = known(&copy.folder)?;
        }
        Ok(())
    }

    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        self.0.iter().map(|copy| copy.folder.clone()).collect()
    }

    /// The stores that the folders are now; those that were refused are left out.
    pub(crate) async fn stores(&self) -> Vec<StoreFolder> {
        let mut stores = Vec::new();
        for copy in &self.0 {
            stores.extend(copy.open().await.into_iter().flat_map(|local| local.folders()));
        }
        stores
    }

    /// A copy that lacks one of these archives, by key and size. One that cannot be looked at lacks nothing: it will not be
    /// made, and that is reported then.
    pub(crate) async fn lacks_any(&self, archives: &[(&str, u64)]) -> Option<PathBuf> {
        for copy in &self.0 {
            if copy.lacks(archives).await.is_some() {
                return Some(copy.folder.clone());
            }
        }
        None
    }

    /// Whether no copy was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The store to which parts go behind those that were `sent`; what goes there goes to the copies too.
    pub(crate) async fn tee(&self, store: &SharedStore, key: &str, sent: &[SegmentRecord]) -> SharedStore {
        let mut teed = store.clone();
        for copy in &self.0 {
            match copy.tee(&teed, key, sent).await {
                Ok(Some(tee)) => teed = tee,
                Ok(None) => {}
                Err(error) => copy.abandon(with_advice(&error)),
            }
        }
        teed
    }

    /// Completes the copies of a backup that exists. Returns a warning for each that failed.
    ///
    /// # Errors
    /// `Interrupted`.
    pub(crate) async fn complete(
        &self,
        source: CopySource<'_>,
        manifest: &ManifestDocuments,
        cancel: &CancellationToken,
    ) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        for copy in &self.0 {
            let failure = match copy.failure() {
                Some(failure) => failure,
                None => match copy.complete(source, manifest, cancel).await {
                    Ok(()) => continue,
                    Err(Error::Interrupted) => return Err(Error::Interrupted),
                    Err(error) => with_advice(&error),
                },
            };
            copy.clear(&source.header.name().archive_key()).await;
            let folder = copy.folder.display();
            let warning = format!(
                "backup made, but not copied to {folder}: {failure}. Fix this; the next backup will be copied again"
            );
            tracing::warn!("{warning}");
            warnings.push(warning);
        }
        Ok(warnings)
    }

    /// Removes what was copied of a backup that will not be made.
    pub(crate) async fn clear(&self, key: &str) {
        for copy in &self.0 {
            copy.clear(key).await;
        }
    }
}

impl FolderCopy {
    /// The folder as a store, if it is the one that it was: a disk that is not mounted leaves an empty folder.
    async fn open(&self) -> Result<LocalStore, Storage> {
        let local = LocalStore::open(&self.folder).await?;
        let is_other = |folder: &StoreFolder| self.expected.is_some() && folder.id != self.expected;
        if local.folders().iter().any(is_other) {
            return Err(other_store(&local, &self.folder).into());
        }
        Ok(local)
    }

    /// The first of these archives, by key and size, that the copy does not have.
    async fn lacks(&self, archives: &[(&str, u64)]) -> Option<String> {
        if archives.is_empty() || self.failure().is_some() {
            return None;
        }
        let local = self.open().await.ok()?;
        for (key, bytes) in archives {
            if local.head(key).await.is_ok_and(|found| found != Some(*bytes)) {
                return Some((*key).to_owned());
            }
        }
        None
    }

    fn abandon(&self, failure: String) {
        tracing::warn!(folder = %self.folder.display(), error = failure, "the copy was abandoned");
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
    }

    fn failure(&self) -> Option<String> {
        let abandoned = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tee = self.tee.lock().unwrap_or_else(PoisonError::into_inner);
        abandoned.or_else(|| tee.as_ref().and_then(|tee| tee.failure()))
    }

    /// `None` where the copy lacks parts that the store has: it is completed after the backup.
    async fn tee(
        &self,
        store: &SharedStore,
        key: &str,
        sent: &[SegmentRecord],
    ) -> Result<Option<SharedStore>> {
        if self.failure().is_some() {
            return Ok(None);
        }
        let local = self.open().await?;
        let upload = match furthest(&local, key, sent).await? {
            Some((upload, held)) if held == sent.len() => upload,
            None if sent.is_empty() => local.begin_upload(key).await?,
            _ => return Ok(None),
        };
        let tee = Arc::new(Tee::new(store.clone(), Arc::new(local), upload));
        *self.tee.lock().unwrap_or_else(PoisonError::into_inner) = Some(tee.clone());
        Ok(Some(tee))
    }

    async fn complete(
        &self,
        source: CopySource<'_>,
        manifest: &ManifestDocuments,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let CopySource { header, data_key, segments, dependencies, .. } = source;
        let (name, local) = (header.name(), self.open().await?);
        if let Some(key) = self.lacks(dependencies).await {
            return Err(Error::CopyLacks { key });
        }
        match provenance::of_archive(&local, header, segments).await? {
            Provenance::Own => {}
            Provenance::Foreign | Provenance::Unreadable => {
                return Err(provenance::overtaken(&local, &name.archive_key()));
            }
            Provenance::Absent => {
                tracing::info!(folder = %self.folder.display(), "the copy is completed from the store");
                let archive = ArchiveSource { store: source.store, header, segments };
                copy_archive(archive, &local, &Progress::default(), cancel).await?;
            }
        }
        if local.head(&name.manifest_key()).await?.is_none() {
            put_manifest(&local, &name, manifest).await?;
        } else if provenance::own_manifest(&local, header, data_key, segments).await?.is_none() {
            return Err(provenance::overtaken(&local, &name.manifest_key()));
        }
        self.clear(&name.archive_key()).await;
        Ok(())
    }

    /// Removes uploads of an archive that will not be resumed.
    async fn clear(&self, key: &str) {
        // A folder that is missing is not created now.
        if !self.folder.is_dir() {
            return;
        }
        match self.open().await {
            Ok(local) => archive_copy::clear(&local, key).await,
            Err(error) => {
                tracing::warn!(%error, "parts of an unfinished copy could not be removed from its folder")
            }
        }
    }
}

/// The error for a folder that lacks the mark of the store that earlier runs wrote to.
pub(crate) fn other_store(store: &dyn ObjectStore, folder: &Path) -> StoreError {
    let reason = "this folder lacks the mark (.intellistor-store) of the store that earlier runs wrote to";
    StoreError::new(StoreErrorKind::OtherStore, store.url(), "write to", folder.to_string_lossy(), reason)
}

/// A folder's absolute path; where the system cannot tell it, as it is.
pub(crate) fn absolute(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}
