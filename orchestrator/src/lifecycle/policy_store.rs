//! A store whose new objects get what their policy prescribes: a lock, a storage class.
//!
//! **In:** what is put and begun, by key. **Out:** the same, with attributes. Code that writes objects of a backup need not
//! know of them, and cannot forget them: [`Catalog::under`](crate::catalog::Catalog::under) is where the store of every run
//! comes from.
//!
//! | object | lock | class |
//! | --- | --- | --- |
//! | archive | yes | yes |
//! | manifest, sealed lists | yes | no: they are read by the next backup, by `forget` and by `prune` |
//! | `run_<timestamp>.log` | yes | no |
//! | statements, `machine.json`, `last.log` | no: they are replaced | no |

use async_trait::async_trait;
use bytes::Bytes;
use intellistor_storage::Result;
use intellistor_storage::catalog::layout::{self, BackupName, ObjectKind};
use intellistor_storage::forward;
use intellistor_storage::objects::{Attributes, ObjectStore, PutOptions, SharedStore, Upload};

use crate::lifecycle::locking;
use crate::policy::{LockPolicy, Policy};

/// Adds attributes to what is put and to the uploads that are begun through it. Those in the options of a call win.
#[derive(Debug)]
pub(crate) struct PolicyStore {
    store: SharedStore,
    lock: Option<LockPolicy>,
    storage_class: Option<String>,
}

impl PolicyStore {
    /// The store itself, where the policy prescribes nothing.
    pub(crate) fn under(store: SharedStore, policy: &Policy) -> SharedStore {
        let Policy { lock, storage_class, .. } = policy;
        if lock.is_none() && storage_class.is_none() {
            return store;
        }
        std::sync::Arc::new(Self { store, lock: *lock, storage_class: storage_class.clone() })
    }

    fn prescribed(&self, key: &str, attributes: &Attributes) -> Attributes {
        let kind = BackupName::of_object(key).map(|(_, kind)| kind);
        let is_locked =
            matches!(kind, Some(ObjectKind::Archive | ObjectKind::Manifest | ObjectKind::Entries))
                || layout::is_run_log(key);
        let mut attributes = attributes.clone();
        if let Some(lock) = self.lock.filter(|_| is_locked && attributes.retention.is_none()) {
            attributes.retention = Some(locking::retention(&*self.store, lock));
        }
        if kind == Some(ObjectKind::Archive) && attributes.storage_class.is_none() {
            attributes.storage_class.clone_from(&self.storage_class);
        }
        attributes
    }
}

#[async_trait]
impl ObjectStore for PolicyStore {
    forward!(store: url folders capabilities now_ms prepare get_range head list delete put_part list_parts);
    forward!(store: last_part_ms complete_with composite list_uploads abort_upload);
    forward!(store: erase attributes retain set_legal_hold check_object_lock);

    async fn put_with(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<()> {
        let attributes = self.prescribed(key, &options.attributes);
        self.store.put_with(key, body, &PutOptions { attributes, ..*options }).await
    }

    async fn begin_with(&self, key: &str, attributes: &Attributes) -> Result<Upload> {
        self.store.begin_with(key, &self.prescribed(key, attributes)).await
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use intellistor_storage::objects::{MemoryStore, ObjectStoreExt as _, RetentionMode, conformance};

    use super::*;
    use crate::policy::LockMode;

    const NOW_MS: i64 = 1_795_000_000_250;

    fn prescribing(lock: Option<LockPolicy>, storage_class: Option<&str>) -> (MemoryStore, SharedStore) {
        let memory = MemoryStore::default();
        memory.set_now_ms(NOW_MS);
        let policy = Policy {
            lock,
            storage_class: storage_class.map(str::to_owned),
            ..Policy::new("p", ["/x"]).unwrap()
        };
        (memory.clone(), PolicyStore::under(std::sync::Arc::new(memory), &policy))
    }

    #[tokio::test]
    async fn it_conforms() {
        // By the clock of this machine, which the suite compares with.
        let policy =
            Policy { storage_class: Some("STANDARD_IA".to_owned()), ..Policy::new("p", ["/x"]).unwrap() };
        conformance::check(PolicyStore::under(std::sync::Arc::new(MemoryStore::default()), &policy)).await;
    }

    #[tokio::test]
    async fn a_backup_and_its_log_are_locked_and_what_is_replaced_is_not() {
        let (memory, store) =
            prescribing(Some(LockPolicy { mode: LockMode::Compliance, days: 30 }), Some("GLACIER"));
        let name = BackupName {
            policy_id: "p".to_owned(),
            timestamp: "20261126T020000Z".to_owned(),
            backup_id: "b".to_owned(),
        };
        let upload = store.begin_upload(&name.archive_key()).await.unwrap();
        store.complete_upload(&upload, &[]).await.unwrap();
        for kind in ObjectKind::ALL.into_iter().filter(|kind| *kind != ObjectKind::Archive) {
            store.put(&name.key(kind), Bytes::new()).await.unwrap();
        }
        let log = layout::log_key("p", &name.timestamp);
        let others = [layout::last_log_key("p"), layout::machine_key("p")];
        for key in others.iter().chain([&log]) {
            store.put(key, Bytes::new()).await.unwrap();
        }
        let is_locked = |key: &str| memory.kept(key).unwrap().retention.is_some();
        let class = |key: &str| memory.kept(key).unwrap().storage_class;
        for kind in ObjectKind::ALL {
            let is_data = matches!(kind, ObjectKind::Archive | ObjectKind::Manifest | ObjectKind::Entries);
            assert_eq!(is_locked(&name.key(kind)), is_data, "{kind:?}");
            assert_eq!(class(&name.key(kind)).is_some(), kind == ObjectKind::Archive, "{kind:?}");
        }
        assert!(is_locked(&log) && class(&log).is_none());
        assert!(others.iter().all(|key| !is_locked(key)));
        let kept = memory.kept(&name.archive_key()).unwrap().retention.unwrap();
        assert_eq!(kept.mode, RetentionMode::Compliance);
        let now = DateTime::from_timestamp_millis(NOW_MS).unwrap();
        // S3 keeps seconds; rounded down, it would be too short.
        assert_eq!(kept.until, now + TimeDelta::days(30) + TimeDelta::milliseconds(750));
    }
}
