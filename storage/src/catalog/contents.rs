//! What a store holds of a policy: backups, and archives that have no manifest. Needs no key: what was said about a backup
//! ([`statements`](super::statements)) is seen, and not proven.
//!
//! Other objects may lie beside them: what is not named as ours are hides nothing.

use std::collections::BTreeMap;

use crate::catalog::layout::{BACKUPS, BackupName, ObjectKind, is_policy_id, is_probe_key, machine_key};
use crate::error::Result;
use crate::objects::listing::Listing;
use crate::objects::object::ObjectInfo;
use crate::objects::store::ObjectStore;

/// A backup that exists: its manifest is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedBackup {
    /// What names it.
    pub name: BackupName,
    /// Size of its archive, 0 when the archive is missing.
    pub archive_bytes: u64,
    /// Size of its manifest.
    pub manifest_bytes: u64,
}

/// An archive without a manifest: the manifest was lost, or a run was stopped before it put one, or is about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanArchive {
    /// What names it.
    pub name: BackupName,
    pub archive_bytes: u64,
}

/// The objects of one backup: which there are, how large, and when they were put (Unix milliseconds by the store's clock, where
/// it says so).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupObjects(BTreeMap<ObjectKind, (u64, Option<i64>)>);

impl BackupObjects {
    pub fn has(&self, kind: ObjectKind) -> bool {
        self.0.contains_key(&kind)
    }

    pub fn bytes(&self, kind: ObjectKind) -> Option<u64> {
        self.0.get(&kind).map(|(bytes, _)| *bytes)
    }

    pub fn modified_ms(&self, kind: ObjectKind) -> Option<i64> {
        self.0.get(&kind).and_then(|(_, modified_ms)| *modified_ms)
    }
}

/// All that a store holds of a policy.
#[derive(Debug, Default)]
pub struct Contents {
    backups: BTreeMap<BackupName, BackupObjects>,
    /// How many objects are none of ours, and the first of them.
    unknown: (u64, Option<String>),
    has_owner: bool,
}

impl Contents {
    /// Lists the policy's objects.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn of(store: &dyn ObjectStore, policy_id: &str) -> Result<Self> {
        let mut found = Self::default();
        let mut pages = Listing::new(store, BackupName::policy_prefix(policy_id));
        while let Some(objects) = pages.next_page().await? {
            objects.into_iter().for_each(|object| found.add(policy_id, object));
        }
        Ok(found)
    }

    fn add(&mut self, policy_id: &str, object: ObjectInfo) {
        if let Some((name, kind)) = BackupName::of_object(&object.key) {
            let objects = self.backups.entry(name).or_default();
            objects.0.insert(kind, (object.bytes, object.modified_ms));
        } else if object.key == machine_key(policy_id) {
            self.has_owner = true;
        } else if is_probe_key(policy_id, &object.key) {
            // Ours, and no backup's: an examination may be under way, and the next one removes what was left.
        } else {
            self.unknown.0 += 1;
            self.unknown.1.get_or_insert(object.key);
        }
    }

    /// Whether an object says which machine owns the policy.
    pub fn has_owner(&self) -> bool {
        self.has_owner
    }

    /// Size of all that is ours.
    pub fn bytes(&self) -> u64 {
        let objects = self.backups.values().flat_map(|objects| objects.0.values());
        objects.map(|(bytes, _)| *bytes).fold(0, u64::saturating_add)
    }

    /// Everything of the policy that has the name of a backup's object, by backup, oldest first.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = (&BackupName, &BackupObjects)> {
        self.backups.iter()
    }

    /// The objects of one backup.
    pub fn of_backup(&self, name: &BackupName) -> Option<&BackupObjects> {
        self.backups.get(name)
    }

    /// How many objects are none of ours, and the first of them.
    pub fn unknown(&self) -> (u64, Option<&str>) {
        (self.unknown.0, self.unknown.1.as_deref())
    }

    /// Backups that have a manifest, forgotten or not, oldest first.
    pub fn backups(&self) -> impl DoubleEndedIterator<Item = ListedBackup> {
        self.backups.iter().filter_map(|(name, objects)| {
            Some(ListedBackup {
                name: name.clone(),
                archive_bytes: objects.bytes(ObjectKind::Archive).unwrap_or(0),
                manifest_bytes: objects.bytes(ObjectKind::Manifest)?,
            })
        })
    }

    /// Archives that have neither a manifest nor a `forgotten.json`, oldest first. A restore without manifest opens them.
    pub fn orphans(&self) -> impl DoubleEndedIterator<Item = OrphanArchive> {
        let is_orphan = |objects: &BackupObjects| {
            !objects.has(ObjectKind::Manifest) && !objects.has(ObjectKind::Forgotten)
        };
        self.backups.iter().filter(move |(_, objects)| is_orphan(objects)).filter_map(|(name, objects)| {
            Some(OrphanArchive { name: name.clone(), archive_bytes: objects.bytes(ObjectKind::Archive)? })
        })
    }

    /// Archives, whether or not they have a manifest, oldest first.
    pub fn archives(&self) -> impl DoubleEndedIterator<Item = &BackupName> {
        self.backups.iter().filter(|(_, objects)| objects.has(ObjectKind::Archive)).map(|(name, _)| name)
    }
}

/// What a store holds of every policy, one after the other, in one listing: of one policy at a time it is in memory.
#[derive(Debug)]
pub struct PoliciesContents<'s> {
    pages: Listing<'s>,
    page: std::vec::IntoIter<ObjectInfo>,
    current: Option<(String, Contents)>,
    unknown: u64,
}

impl<'s> PoliciesContents<'s> {
    pub fn new(store: &'s dyn ObjectStore) -> Self {
        let pages = Listing::new(store, format!("{BACKUPS}/"));
        Self { pages, page: Vec::new().into_iter(), current: None, unknown: 0 }
    }

    /// The next policy, in the order of the ids' keys; `None` where there is no other. What has no object of ours is no policy.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn next(&mut self) -> Result<Option<(String, Contents)>> {
        loop {
            let Some(object) = self.page.next() else {
                match self.pages.next_page().await? {
                    Some(page) => self.page = page.into_iter(),
                    None => return Ok(self.current.take()),
                }
                continue;
            };
            let Some(policy_id) = policy_of(&object.key).map(str::to_owned) else {
                self.unknown += 1;
                continue;
            };
            let is_other = self.current.as_ref().is_some_and(|(current, _)| *current != policy_id);
            let ended = if is_other { self.current.take() } else { None };
            let (_, contents) = self.current.get_or_insert_with(|| (policy_id.clone(), Contents::default()));
            contents.add(&policy_id, object);
            if ended.is_some() {
                return Ok(ended);
            }
        }
    }

    /// Objects below `backups/` so far that are no policy's.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }
}

/// The policy whose backup or owner an object is of.
fn policy_of(key: &str) -> Option<&str> {
    let policy_id = key.strip_prefix(BACKUPS)?.strip_prefix('/')?.split('/').next()?;
    let is_ours =
        is_policy_id(policy_id) && (BackupName::of_object(key).is_some() || key == machine_key(policy_id));
    is_ours.then_some(policy_id)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::objects::memory::MemoryStore;
    use crate::objects::store::ObjectStoreExt as _;

    fn name(timestamp: &str, backup_id: &str) -> BackupName {
        BackupName { policy_id: "p".into(), timestamp: timestamp.into(), backup_id: backup_id.into() }
    }

    #[tokio::test]
    async fn junk_hides_nothing_and_is_no_backup() {
        let store = MemoryStore::default();
        let (whole, lost, later) =
            (name("20260101T000000Z", "a"), name("20260102T000000Z", "b"), name("20260103T000000Z", "c"));
        let junk = [
            "backups/p/".to_owned(),
            "backups/p/readme.txt".to_owned(),
            "backups/p/x/y/backup.tar.gz.enc".to_owned(),
            "backups/p/zzzzzzzz/y/manifest.json".to_owned(),
            "backups/p/20260101T000000Z/a/backup.tar.gz.enc.old".to_owned(),
            "backups/p/20260101T000000Z/a/junk".to_owned(),
            "backups/p/20260101T000000Z/a/manifest.json/x".to_owned(),
            "backups/p/20260101T000000Z/a0/backup.tar.gz.enc/".to_owned(),
        ];
        // More than a page of it between the two objects of a backup.
        let more = (0..1500).map(|i| format!("backups/p/20260101T000000Z/a/between-{i}"));
        for key in junk.into_iter().chain(more) {
            store.put(&key, Bytes::new()).await.unwrap();
        }
        for key in [whole.archive_key(), whole.manifest_key(), lost.archive_key(), later.manifest_key()] {
            store.put(&key, Bytes::from_static(b"12")).await.unwrap();
        }
        let contents = Contents::of(&store, "p").await.unwrap();
        let backup = |name: &BackupName, archive_bytes| ListedBackup {
            name: name.clone(),
            archive_bytes,
            manifest_bytes: 2,
        };
        assert_eq!(contents.backups().collect::<Vec<_>>(), [backup(&whole, 2), backup(&later, 0)]);
        let orphan = OrphanArchive { name: lost.clone(), archive_bytes: 2 };
        assert_eq!(contents.orphans().collect::<Vec<_>>(), [orphan]);
        assert_eq!(contents.archives().collect::<Vec<_>>(), [&whole, &lost]);
        assert_eq!(contents.unknown(), (1508, Some("backups/p/")));
    }

    #[tokio::test]
    async fn every_policy_comes_once_whatever_lies_between_them() {
        let store = MemoryStore::default();
        let mut expected = Vec::new();
        // `-` and `.` sort before `/`, digits after it.
        for (number, policy_id) in ["a", "a-b", "a.b", "a0", "B"].into_iter().enumerate() {
            let name = |day: usize| BackupName {
                policy_id: policy_id.into(),
                ..name(&format!("202601{day:02}T000000Z"), "x")
            };
            for day in 1..=number + 1 {
                store.put(&name(day).archive_key(), Bytes::from_static(b"123")).await.unwrap();
                store.put(&name(day).manifest_key(), Bytes::from_static(b"12")).await.unwrap();
            }
            expected.push((policy_id.to_owned(), number + 1, 5 * (number as u64 + 1), false));
        }
        store.put(&machine_key("new"), Bytes::new()).await.unwrap();
        expected.push(("new".to_owned(), 0, 0, true));
        for junk in [
            "backups/",
            "backups/readme",
            "backups/ção/x",
            "backups/a/readme",
            "backups/junk/x/y",
            "other/a",
            "logs/a/last.log",
        ] {
            store.put(junk, Bytes::new()).await.unwrap();
        }
        for n in 0..2500 {
            store.put(&format!("backups/a/0/{n}"), Bytes::new()).await.unwrap();
        }
        let (mut all, mut found) = (PoliciesContents::new(&store), Vec::new());
        while let Some((policy_id, contents)) = all.next().await.unwrap() {
            found.push((policy_id, contents.backups().count(), contents.bytes(), contents.has_owner()));
        }
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}
