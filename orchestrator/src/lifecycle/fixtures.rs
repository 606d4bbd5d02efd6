//! Backups without files, made in memory: only their manifests matter.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use intellistor_storage::archive::Header;
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::catalog::statements::{self, Forgotten};
use intellistor_storage::keys::{DataKey, Recipients, UserKey};
use intellistor_storage::manifest::{BackupFacts, Base, BrakeRecord, ManifestDraft, VerifiedManifest};
use intellistor_storage::objects::{MemoryStore, ObjectStoreExt as _};

use super::scope::Scope;
use crate::catalog::Catalog;
use crate::clock;
use crate::policy::{Policy, RetentionRules};

/// A policy's backups in a store whose clock is turned by hand.
#[derive(Debug)]
pub(crate) struct Backups {
    pub(crate) store: MemoryStore,
    pub(crate) catalog: Catalog,
    pub(crate) keys: Recipients,
    pub(crate) policy: Policy,
}

impl Backups {
    pub(crate) fn new() -> Self {
        let store = MemoryStore::default();
        let catalog = Catalog::new(std::sync::Arc::new(store.clone()));
        let policy = Policy::new("p", ["/home"]).unwrap();
        let backups = Self { store, catalog, keys: UserKey::generate().into(), policy };
        backups.set_now("20261110T030000Z");
        backups
    }

    /// With `keep_last`.
    pub(crate) fn keeping(last: u32) -> Self {
        let mut backups = Self::new();
        backups.policy.retention = Some(RetentionRules { keep_last: last, ..RetentionRules::default() });
        backups
    }

    pub(crate) fn set_now(&self, timestamp: &str) {
        self.store.set_now_ms(clock::parse(timestamp).unwrap().timestamp_millis());
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.scope().now()
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope { catalog: &self.catalog, keys: &self.keys, policy_id: &self.policy.policy_id }
    }

    /// A full backup.
    pub(crate) async fn make(&self, timestamp: &str) -> BackupName {
        self.put(timestamp, None, None, &self.keys).await
    }

    /// A backup with a brake that began with it.
    pub(crate) async fn make_braked(&self, timestamp: &str) -> BackupName {
        let (since, why) = (timestamp.to_owned(), "a disk".to_owned());
        let files_before = Some(10);
        let brake = BrakeRecord { since, why, files_before, empty_roots: Vec::new(), replaced: false };
        self.put(timestamp, None, Some(brake), &self.keys).await
    }

    /// A backup that needs the archive of another one.
    pub(crate) async fn make_on(&self, base: &BackupName, timestamp: &str) -> BackupName {
        let (header, data_key) = self.scope().open(base).await.unwrap();
        let manifest = VerifiedManifest::fetch_own(&self.store, &header, &data_key).await.unwrap();
        let numbers = Base::numbers_of([true]);
        let base = Base::new(manifest, numbers).unwrap();
        self.put(timestamp, Some(base), None, &self.keys).await
    }

    /// A backup that was sealed with another key.
    pub(crate) async fn make_with(&self, keys: &Recipients, timestamp: &str) -> BackupName {
        self.put(timestamp, None, None, keys).await
    }

    async fn put(
        &self,
        timestamp: &str,
        base: Option<Base>,
        brake: Option<BrakeRecord>,
        keys: &Recipients,
    ) -> BackupName {
        let (policy_id, timestamp) = (self.policy.policy_id.clone(), timestamp.to_owned());
        let name = BackupName { policy_id, backup_id: format!("b{timestamp}"), timestamp };
        let data_key = DataKey::generate();
        let header = Header::new(&name, keys.wrap(&data_key, &name.backup_id));
        let facts = BackupFacts { brake, ..BackupFacts::default() };
        let draft = ManifestDraft::new(base.map(std::sync::Arc::new));
        let mut manifest = draft.finish(&header, &data_key, facts).unwrap();
        self.store.put(&name.archive_key(), Bytes::from_static(b"archive")).await.unwrap();
        manifest.put(&self.store, &header, &data_key).await.unwrap();
        name
    }

    /// Says that a backup is forgotten.
    pub(crate) async fn say_forgotten(&self, name: &BackupName, sweeping: bool) -> Forgotten {
        let (header, data_key) = self.scope().open(name).await.unwrap();
        let (id, by, why) = ("f1".to_owned(), "h".to_owned(), "a reason".to_owned());
        let prunable_from = self.now() + TimeDelta::days(8);
        let forgotten = Forgotten { id, time: self.now(), by, why, prunable_from, sweeping, put: None };
        statements::put(&self.store, &header, &data_key, &forgotten).await.unwrap();
        forgotten
    }

    pub(crate) async fn standing(&self, name: &BackupName) -> Standing {
        self.scope().standing(name).await.unwrap()
    }

    pub(crate) async fn is_listed(&self, name: &BackupName) -> bool {
        self.standing(name).await.forgotten().is_none()
    }

    pub(crate) fn has(&self, name: &BackupName, kind: ObjectKind) -> bool {
        self.store.keys().contains(&name.key(kind))
    }

    /// The timestamps of those that are listed.
    pub(crate) async fn listed(&self) -> Vec<String> {
        let mut listed = Vec::new();
        for backup in self.catalog.list(&self.policy.policy_id).await.unwrap() {
            if self.is_listed(&backup.name).await {
                listed.push(backup.name.timestamp);
            }
        }
        listed
    }
}
