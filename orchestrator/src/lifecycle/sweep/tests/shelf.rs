//! Backups by day in a store in memory, each with an archive of a few bytes and a real manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use intellistor_storage::archive::{FrameRecord, Header, SegmentRecord};
use intellistor_storage::catalog::layout::{BackupName, ObjectKind, TIMESTAMP};
use intellistor_storage::catalog::statements::{self, Forgotten, Hold, Statement};
use intellistor_storage::keys::{DataKey, Identity, Recipients, UserKey};
use intellistor_storage::manifest::{
    BackupFacts, Base, ManifestDraft, PartEntries, VerifiedManifest, put_manifest,
};
use intellistor_storage::objects::{MemoryStore, ObjectStore as _, ObjectStoreExt as _, SharedStore};

use super::super::*;

pub(super) const PRUNE_AFTER: i64 = 8;

pub(super) fn at(day: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::days(day)
}

pub(super) fn name(day: i64) -> BackupName {
    let timestamp = at(day).format(TIMESTAMP).to_string();
    BackupName { policy_id: "p".to_owned(), timestamp, backup_id: format!("b{day}") }
}

#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) memory: MemoryStore,
    pub(super) catalog: Catalog,
    pub(super) key: UserKey,
}

impl Shelf {
    pub(super) fn new() -> Self {
        let (memory, key) = (MemoryStore::default(), UserKey::generate());
        Self { catalog: Catalog::new(Arc::new(memory.clone())), memory, key }
    }

    /// The same backups, used through a decorator of the store.
    pub(super) fn through(&self, decorate: impl FnOnce(SharedStore) -> SharedStore) -> Self {
        let memory = self.memory.clone();
        Self { catalog: Catalog::new(decorate(Arc::new(memory.clone()))), memory, key: self.key.clone() }
    }

    /// Another store with the same objects. Their times are those of `day`.
    pub(super) async fn copied_on(&self, day: i64) -> Self {
        let copy = Self { key: self.key.clone(), ..Self::new() };
        copy.set_day(day);
        for (key, bytes) in self.objects().await {
            copy.memory.put(&key, bytes).await.unwrap();
        }
        copy
    }

    pub(super) fn set_day(&self, day: i64) {
        self.memory.set_now_ms(at(day).timestamp_millis());
    }

    /// Makes the backup of a day, which needs all archives of its base.
    pub(super) async fn back_up(&self, day: i64, base: Option<i64>, sealed: bool) {
        self.set_day(day);
        let (name, data_key, keys) = (name(day), DataKey::generate(), Recipients::from(self.key.clone()));
        let header = Header::new(&name, keys.wrap(&data_key, &name.backup_id));
        let base = match base {
            None => None,
            Some(base) => {
                let identity = Identity::from(self.key.clone());
                let base = super::shelf::name(base);
                let manifest = VerifiedManifest::fetch(&self.memory, &base, &identity).await.unwrap();
                let numbers = Base::numbers_of(manifest.head().archives.iter().map(|_| true));
                Some(Arc::new(Base::new(manifest, numbers).unwrap()))
            }
        };
        let frames = vec![FrameRecord { sealed_bytes: 40, tar_bytes: 9 }];
        let segment =
            SegmentRecord { number: 1, offset: 0, bytes: 1000, salt: [1; 32], sha256: [2; 32], frames };
        let mut draft = ManifestDraft::new(base);
        draft.commit(segment, PartEntries::default()).unwrap();
        let facts = BackupFacts { sealed, ..BackupFacts::default() };
        let manifest = draft.finish(&header, &data_key, facts).unwrap();
        self.memory.put(&name.archive_key(), Bytes::from(format!("archive {day}"))).await.unwrap();
        put_manifest(&self.memory, &name, manifest.documents()).await.unwrap();
    }

    /// A full backup of day 0, and backups of the next days, each on the one before.
    pub(super) async fn chain(days: i64, sealed: bool) -> Self {
        let shelf = Self::new();
        for day in 0..days {
            shelf.back_up(day, (day > 0).then(|| day - 1), sealed).await;
        }
        shelf
    }

    pub(super) fn scope<'a>(&'a self, keys: &'a Recipients) -> Scope<'a> {
        Scope { catalog: &self.catalog, keys, policy_id: "p" }
    }

    pub(super) async fn encoded<S: Statement>(&self, day: i64, says: &S) -> (String, Bytes) {
        let keys = Recipients::from(self.key.clone());
        let (header, data_key) = self.scope(&keys).open(&name(day)).await.unwrap();
        (name(day).key(S::OBJECT), statements::encode(&header, &data_key, says).unwrap())
    }

    pub(super) async fn say<S: Statement>(&self, day: i64, says: &S) {
        let (key, bytes) = self.encoded(day, says).await;
        self.memory.put(&key, bytes).await.unwrap();
    }

    /// Forgets backups on a day.
    pub(super) async fn forget(&self, days: impl IntoIterator<Item = i64>, on: i64) {
        self.set_day(on);
        for day in days {
            self.say(day, &forgotten(on)).await;
        }
    }

    pub(super) async fn sweep_on(&self, day: i64) -> Result<SweepReport> {
        self.sweep_with(day, SweepOptions::default()).await
    }

    pub(super) async fn sweep_with(&self, day: i64, options: SweepOptions<'_>) -> Result<SweepReport> {
        self.set_day(day);
        let keys = Recipients::from(self.key.clone());
        sweep(self.scope(&keys), options).await
    }

    /// Every object, with its bytes.
    pub(super) async fn objects(&self) -> BTreeMap<String, Bytes> {
        let mut all = BTreeMap::new();
        for key in self.memory.keys() {
            let bytes = self.memory.get_range(&key, 0..u64::MAX).await.unwrap();
            all.insert(key, bytes);
        }
        all
    }

    /// Kinds of the objects that a backup has.
    pub(super) fn kinds(&self, day: i64) -> Vec<ObjectKind> {
        let keys = self.memory.keys();
        ObjectKind::ALL.into_iter().filter(|kind| keys.contains(&name(day).key(*kind))).collect()
    }

    /// Asserts that each of these backups has a manifest, and every archive that it needs.
    pub(super) async fn assert_whole(&self, days: impl IntoIterator<Item = i64>, what: &str) {
        let (identity, keys) = (Identity::from(self.key.clone()), self.memory.keys());
        for day in days {
            let manifest = VerifiedManifest::fetch(&self.memory, &name(day), &identity).await;
            let manifest = manifest.unwrap_or_else(|e| panic!("{what}: day {day}: {e}"));
            for archive in &manifest.head().archives {
                assert!(keys.contains(&archive.key), "{what}: day {day} lacks {}", archive.key);
            }
        }
    }
}

pub(super) fn forgotten(on: i64) -> Forgotten {
    let (by, why) = ("h".to_owned(), "no rule keeps it".to_owned());
    let prunable_from = at(on + PRUNE_AFTER);
    Forgotten { id: format!("f{on}"), time: at(on), by, why, prunable_from, sweeping: false, put: None }
}

pub(super) fn hold(held: bool, unforgets: Option<&str>) -> Hold {
    let (by, why) = ("h".to_owned(), "audit".to_owned());
    Hold { time: at(0), by, why, held, unforgets: unforgets.map(str::to_owned).into_iter().collect() }
}

/// Days of backups in a report.
pub(super) fn days<'r>(backup_ids: impl Iterator<Item = &'r String>) -> Vec<i64> {
    backup_ids.map(|id| id[1..].parse().unwrap()).collect()
}
