//! Backups that were made once, and are published in each schedule anew.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::lock::Mutex;
use intellistor_storage::archive::{Header, SegmentRecord};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::{ContentKey, DataKey, Identity, Recipients, UserKey};
use intellistor_storage::manifest::{
    BackupFacts, Base, Change, Listed, ManifestDraft, NewManifest, PartEntries, VerifiedManifest,
};
use intellistor_storage::memory::packed::Packed;
use intellistor_storage::objects::{MemoryStore, ObjectStore as _, SharedStore};
use intellistor_storage::{Error as Storage, StoreErrorKind};

use super::explorer::Disk;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::backup::{BackupOptions, backup};
use crate::operations::publish::{self, Looks, Publication};
use crate::policy::{ManifestForm, Policy};

pub(super) const POLICY: &str = "model";

/// A backup before its manifest is put.
pub(super) struct Sent {
    pub(super) name: BackupName,
    header: Header,
    data_key: DataKey,
    content_key: ContentKey,
    archive: Bytes,
    segments: Vec<SegmentRecord>,
    manifest: Mutex<NewManifest>,
    base: Option<Arc<Base>>,
}

/// A policy with a full backup, one that is based on it and one that is not, neither of them published.
pub(super) struct Backups {
    pub(super) policy: Policy,
    pub(super) key: UserKey,
    /// The first one is in it, and the archive of the second.
    pub(super) store: MemoryStore,
    pub(super) base: BackupName,
    pub(super) increment: Sent,
    pub(super) full: Sent,
}

impl Backups {
    /// `ahead_ms`: of this machine's clock, by which backups are dated, the store's.
    pub(super) async fn make(ahead_ms: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("old"), "what the base has").unwrap();
        let (key, store) = (UserKey::generate(), MemoryStore::default());
        store.set_now_ms(Utc::now().timestamp_millis() / 1000 * 1000 + ahead_ms);
        let policy = Policy::new(POLICY, [dir.path()]).unwrap();
        let recipients = Recipients::from(key.clone());
        let back_up = async |store: &MemoryStore, full| {
            let catalog = Catalog::new(Arc::new(store.clone()));
            let options = BackupOptions { full, ..BackupOptions::default() };
            backup(&catalog, &recipients, &policy, options).await.unwrap().name
        };
        let base = back_up(&store, false).await;
        std::fs::write(dir.path().join("new"), "what the increment adds").unwrap();
        let (of_increment, of_full) = (store.deep_copy(), store.deep_copy());
        let identity = Identity::from(key.clone());
        let name = back_up(&of_increment, false).await;
        let increment = Sent::read(&of_increment, name, &identity, Some(&base)).await;
        let name = back_up(&of_full, true).await;
        let full = Sent::read(&of_full, name, &identity, None).await;
        store
            .put_with(&increment.name.archive_key(), increment.archive.clone(), &Default::default())
            .await
            .unwrap();
        Self { policy, key, store, base, increment, full }
    }

    pub(super) fn recipients(&self) -> Recipients {
        self.key.clone().into()
    }

    /// What a run does that has sent the increment: publishes it, and where what it is based on is gone, makes a full backup
    /// instead. Killed, it continues. The backup that it has made.
    pub(super) async fn publish(&self, store: SharedStore, disk: Disk) -> Result<BackupName> {
        let catalog = Catalog::new(store.clone());
        if disk.read() == 0 {
            match self.increment.publish(&catalog, &self.recipients()).await {
                Err(Error::BaseLost { .. } | Error::DependencyLost { .. } | Error::Forgotten { .. }) => {
                    disk.write(1)
                }
                published => return published,
            }
        }
        let key = self.full.name.archive_key();
        match store
            .put_with(&key, self.full.archive.clone(), &intellistor_storage::objects::PutOptions::if_absent())
            .await
        {
            Err(Storage::Store(error)) if error.kind == StoreErrorKind::AlreadyExists => {}
            put => put?,
        }
        self.full.publish(&catalog, &self.recipients()).await
    }

    /// Every backup that is listed names only what is there, and none of `expected` is missing.
    pub(super) async fn check(&self, store: &MemoryStore, expected: &[&BackupName]) -> Result<(), String> {
        let (catalog, recipients) = (Catalog::new(Arc::new(store.clone())), self.recipients());
        let contents = catalog.contents(POLICY).await.map_err(|error| error.to_string())?;
        let mut listed = Vec::new();
        for backup in contents.backups() {
            let is_forgotten = catalog.is_forgotten(&contents, &backup.name, &recipients).await;
            if is_forgotten.map_err(|error| error.to_string())? {
                continue;
            }
            let manifest = VerifiedManifest::fetch(store, &backup.name, &self.key.clone().into()).await;
            let manifest = manifest.map_err(|error| format!("{} is listed: {error}", backup.name))?;
            for archive in &manifest.head().archives {
                let found = store.head(&archive.key).await.map_err(|error| error.to_string())?;
                if found != Some(archive.bytes) {
                    return Err(format!(
                        "{} is listed, and needs {}, which has {found:?} bytes",
                        backup.name, archive.key
                    ));
                }
            }
            listed.push(backup.name);
        }
        match expected.iter().find(|name| !listed.contains(name)) {
            Some(missing) => Err(format!("{missing} is not listed")),
            None => Ok(()),
        }
    }
}

impl Sent {
    async fn read(
        store: &MemoryStore,
        name: BackupName,
        identity: &Identity,
        base: Option<&BackupName>,
    ) -> Self {
        let manifest = VerifiedManifest::fetch(store, &name, identity).await.unwrap();
        let archive = store.get_range(&name.archive_key(), 0..u64::MAX).await.unwrap();
        let base = match base {
            Some(base) => {
                let base = VerifiedManifest::fetch(store, base, identity).await.unwrap();
                assert_eq!(manifest.head().archives.len(), 2, "it depends on its base");
                Some(Arc::new(Base::new(base, vec![Some(1)]).unwrap()))
            }
            None => None,
        };
        let head = manifest.head();
        let mut entries = Vec::new();
        let each = |entry| {
            entries.push(Listed::Entry { entry, change: Change::New });
            ControlFlow::Continue(())
        };
        manifest.for_each_entry(each).unwrap();
        let mut draft = ManifestDraft::new(base.clone());
        let mut listed = PartEntries { entries: Packed::of(&entries).unwrap(), ..PartEntries::default() };
        let segments = head.archives[0].segments.clone();
        for segment in &segments {
            draft.commit(segment.clone(), std::mem::take(&mut listed)).unwrap();
        }
        let content_key = manifest.content_key().unwrap().unwrap();
        let facts = BackupFacts {
            origin: head.origin.clone(),
            roots: head.roots.clone(),
            began_ms: head.began_ms,
            content_key: Some(content_key.clone()),
            ..BackupFacts::default()
        };
        let (header, data_key) = (manifest.header().clone(), manifest.data_key().clone());
        let manifest = Mutex::new(draft.finish(&header, &data_key, facts).unwrap());
        Self { name, header, data_key, content_key, archive, segments, manifest, base }
    }

    /// From where the archive is complete: what comes before touches no other backup.
    async fn publish(&self, catalog: &Catalog, recipients: &Recipients) -> Result<BackupName> {
        let mut manifest = self.manifest.try_lock().expect("one run works on a job");
        let store = &*catalog.store;
        let publication = Publication {
            store,
            header: &self.header,
            data_key: &self.data_key,
            catalog,
            recipients,
            base: self.base.as_deref(),
            began_ms: manifest.head().began_ms,
            content_key: &self.content_key,
            form: ManifestForm::Plain,
            lock: None,
            prune_after: Duration::from_secs(8 * 86_400),
        };
        let archives: Vec<_> = manifest.head().archives.iter().map(|a| (a.key.clone(), a.bytes)).collect();
        let base = self.base.as_ref().map(|base| &base.manifest().head().name);
        let looks = Looks { store, keys: recipients, name: &self.name, base, archives: &archives };
        publish::put(&publication, &looks, &self.segments, &mut manifest).await?;
        Ok(self.name.clone())
    }
}

/// The store's time, moved.
pub(super) fn pass(store: &MemoryStore, ms: i64) {
    let now = store.now_ms().and_then(DateTime::from_timestamp_millis).expect("its clock is set");
    store.set_now_ms(now.timestamp_millis() + ms);
}
