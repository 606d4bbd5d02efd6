//! Which archives each manifest in the store needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt as _, stream as streams};
use intellistor_storage::catalog::contents::{Contents, ListedBackup};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::manifest::fetch_references;
use intellistor_storage::{Error as Storage, StoreErrorKind};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::lifecycle::scope::Scope;

/// Manifests that are read at once, where many have to be read.
const MOST_READS: usize = 8;
/// So many manifests for each of them: a few are read one after another.
const MANIFESTS_PER_READ: usize = 16;

/// By manifest, the archives that it needs, its own first.
#[derive(Debug, Default)]
pub(super) struct References {
    manifests: BTreeMap<BackupName, Manifest>,
    /// Each name once, however many manifests need it.
    archives: BTreeSet<Arc<BackupName>>,
}

#[derive(Debug)]
struct Manifest {
    /// Its size: it never changes, and one of another size is another one.
    bytes: u64,
    archives: Vec<Arc<BackupName>>,
}

impl References {
    pub(super) fn insert(&mut self, name: BackupName, bytes: u64, archives: Vec<BackupName>) {
        let archives = archives.into_iter().map(|archive| self.shared(archive)).collect();
        self.manifests.insert(name, Manifest { bytes, archives });
    }

    fn shared(&mut self, archive: BackupName) -> Arc<BackupName> {
        if let Some(found) = self.archives.get(&archive) {
            return found.clone();
        }
        let archive = Arc::new(archive);
        self.archives.insert(archive.clone());
        archive
    }

    /// A manifest was deleted.
    pub(super) fn remove(&mut self, name: &BackupName) {
        self.manifests.remove(name);
    }

    /// Every manifest, with its size and its archives.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&BackupName, u64, &[Arc<BackupName>])> {
        self.manifests.iter().map(|(name, manifest)| (name, manifest.bytes, &*manifest.archives))
    }

    /// Makes this what the listed manifests say: reads those that are not known, and drops those that are not listed. Says
    /// whether any was read.
    ///
    /// # Errors
    /// [`Error::SweepStopped`] with the first that cannot be read. One that is gone is none: another sweep has deleted it, or
    /// the listing is old.
    pub(super) async fn complete(
        &mut self,
        scope: &Scope<'_>,
        contents: &Contents,
        cancel: &CancellationToken,
    ) -> Result<bool> {
        let mut unread = Vec::new();
        let mut known = std::mem::take(&mut self.manifests);
        for ListedBackup { name, manifest_bytes, .. } in contents.backups() {
            match known.remove(&name) {
                Some(manifest) if manifest.bytes == manifest_bytes => {
                    self.manifests.insert(name, manifest);
                }
                _ => unread.push((name, manifest_bytes)),
            }
        }
        let was_read = !unread.is_empty();
        let at_once = (unread.len() / MANIFESTS_PER_READ).clamp(1, MOST_READS);
        let reads = streams::iter(unread).map(|(name, bytes)| async move {
            if cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            match fetch_references(scope.store(), &name, scope.keys).await {
                Ok(archives) => Ok(Some((name, bytes, archives))),
                Err(Storage::Store(error)) if error.kind == StoreErrorKind::NotFound => Ok(None),
                Err(source) => {
                    Err(Error::SweepStopped { key: name.manifest_key(), source: Box::new(source) })
                }
            }
        });
        let mut reads = reads.buffered(at_once);
        while let Some(read) = reads.next().await {
            // Law (must): one that cannot be read stops the sweep.
            if let Some((name, bytes, archives)) = read? {
                self.insert(name, bytes, archives);
            }
        }
        Ok(was_read)
    }

    /// The archives that are needed by those manifests that stay, each with one of these manifests, the newest.
    pub(super) fn needed(&self, stays: impl Fn(&BackupName) -> bool) -> BTreeMap<&BackupName, &BackupName> {
        let staying = self.manifests.iter().filter(|(name, _)| stays(name));
        staying.flat_map(|(name, manifest)| manifest.archives.iter().map(move |a| (&**a, name))).collect()
    }
}
