//! A store in memory, for tests; it counts what it was asked.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::{ObjectInfo, ObjectStore, Page, Part, PartReceipt, PutOptions, UnfinishedUpload, Upload};
use crate::error::Result;
use crate::objects::error::{StoreError, StoreErrorKind};

const PAGE: usize = 1000;

/// A store in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    objects: BTreeMap<String, Bytes>,
    uploads: BTreeMap<String, HeldUpload>,
    uploads_begun: u64,
    parts_sent: BTreeMap<u32, u32>,
    bytes_read: u64,
}

#[derive(Debug)]
struct HeldUpload {
    key: String,
    began: SystemTime,
    last_part: Option<SystemTime>,
    parts: BTreeMap<u32, (Bytes, PartReceipt)>,
}

impl MemoryStore {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, kind: StoreErrorKind, operation: &'static str, key: &str) -> StoreError {
        let reason = format!("{kind:?}");
        StoreError::new(kind, self.url(), operation, key, reason)
    }

    /// How often each part number was sent.
    pub fn parts_sent(&self) -> BTreeMap<u32, u32> {
        self.held().parts_sent.clone()
    }

    /// Bytes that `get_range` gave away.
    pub fn bytes_read(&self) -> u64 {
        self.held().bytes_read
    }

    /// Uploads that were begun and neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.held().uploads.len()
    }

    /// Every key.
    pub fn keys(&self) -> Vec<String> {
        self.held().objects.keys().cloned().collect()
    }

    /// Replaces an object's bytes with what `change` makes of them.
    ///
    /// # Panics
    /// When there is no such object.
    pub fn alter(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut held = self.held();
        let object = held.objects.get_mut(key).expect("the object exists");
        let mut bytes = object.to_vec();
        change(&mut bytes);
        *object = bytes.into();
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    fn url(&self) -> String {
        "memory://".to_owned()
    }

    async fn put_with(&self, key: &str, body: Bytes, options: PutOptions) -> Result<()> {
        let mut held = self.held();
        if options.if_absent && held.objects.contains_key(key) {
            return Err(self.fault(StoreErrorKind::AlreadyExists, "write", key).into());
        }
        held.objects.insert(key.to_owned(), body);
        Ok(())
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let mut held = self.held();
        let object =
            held.objects.get(key).ok_or_else(|| self.fault(StoreErrorKind::NotFound, "read", key))?;
        let bound = |at: u64| at.min(object.len() as u64) as usize;
        let bytes = object.slice(bound(range.start)..bound(range.end).max(bound(range.start)));
        held.bytes_read += bytes.len() as u64;
        Ok(bytes)
    }

    async fn head(&self, key: &str) -> Result<Option<u64>> {
        Ok(self.held().objects.get(key).map(|object| object.len() as u64))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        let held = self.held();
        let from = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        let found = held.objects.range::<str, _>((from, Bound::Unbounded));
        let mut found = found.take_while(|(key, _)| key.starts_with(prefix));
        let objects = found.by_ref().take(PAGE);
        let objects: Vec<_> =
            objects.map(|(key, body)| ObjectInfo { key: key.clone(), bytes: body.len() as u64 }).collect();
        Ok(Page { objects, more: found.next().is_some() })
    }

    async fn begin_upload(&self, key: &str) -> Result<Upload> {
        let mut held = self.held();
        held.uploads_begun += 1;
        let id = held.uploads_begun.to_string();
        let (key, began) = (key.to_owned(), SystemTime::now());
        held.uploads.insert(
            id.clone(),
            HeldUpload { key: key.clone(), began, last_part: None, parts: BTreeMap::new() },
        );
        Ok(Upload { key, id })
    }

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        let mut held = self.held();
        *held.parts_sent.entry(part.number).or_default() += 1;
        let gone = || self.fault(StoreErrorKind::UploadGone, "write a part of", &upload.key);
        let HeldUpload { parts, last_part, .. } = held.uploads.get_mut(&upload.id).ok_or_else(gone)?;
        *last_part = Some(SystemTime::now());
        let etag = hex::encode(part.body.sha256());
        let receipt = PartReceipt {
            number: part.number,
            bytes: part.body.len() as u64,
            sha256: Some(part.body.sha256()),
            etag,
        };
        parts.insert(part.number, (part.body.bytes().clone(), receipt.clone()));
        Ok(receipt)
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>> {
        let held = self.held();
        let gone = || self.fault(StoreErrorKind::UploadGone, "list the parts of", &upload.key);
        let parts = &held.uploads.get(&upload.id).ok_or_else(gone)?.parts;
        Ok(parts.values().map(|(_, receipt)| receipt.clone()).collect())
    }

    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], options: PutOptions) -> Result<()> {
        let mut held = self.held();
        let fault = |kind| self.fault(kind, "complete", &upload.key);
        let received = held.uploads.get(&upload.id).ok_or_else(|| fault(StoreErrorKind::UploadGone))?;
        let mut object = Vec::new();
        for part in parts {
            let (body, _) = received
                .parts
                .get(&part.number)
                .filter(|(_, receipt)| receipt == part)
                .ok_or_else(|| fault(StoreErrorKind::Rejected))?;
            object.extend_from_slice(body);
        }
        if options.if_absent && held.objects.contains_key(&upload.key) {
            return Err(fault(StoreErrorKind::AlreadyExists).into());
        }
        held.uploads.remove(&upload.id);
        held.objects.insert(upload.key.clone(), object.into());
        Ok(())
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UnfinishedUpload>> {
        let held = self.held();
        let found = held.uploads.iter().filter(|(_, held)| held.key.starts_with(prefix));
        let found = found.map(|(id, held)| UnfinishedUpload {
            upload: Upload { key: held.key.clone(), id: id.clone() },
            began_ms: super::unix_ms(held.began),
        });
        Ok(super::in_order(found.collect()))
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        self.held().uploads.remove(&upload.id);
        Ok(())
    }

    async fn last_part_ms(&self, upload: &Upload) -> Result<Option<i64>> {
        let held = self.held();
        let gone = || self.fault(StoreErrorKind::UploadGone, "look at the upload of", &upload.key);
        Ok(held.uploads.get(&upload.id).ok_or_else(gone)?.last_part.and_then(super::unix_ms))
    }
}
