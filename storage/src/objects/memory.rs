//! A store in memory, for tests; it counts what it was asked. It keeps attributes, and refuses what S3 Object Lock
//! refuses in a bucket that keeps no versions. Its clock can be turned by hand.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::objects::capabilities::{Capabilities, PartLimits};
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::object::{Composite, ObjectInfo, Page, StoreFolder, unix_ms};
use crate::objects::options::{Attributes, PutOptions, Retention};
use crate::objects::store::ObjectStore;
use crate::objects::upload::{Part, PartReceipt, UnfinishedUpload, Upload, in_order};

/// Objects in one page of a listing.
const PAGE: usize = 1000;

/// Clones share the objects.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, MemoryUpload>,
    uploads_begun: u64,
    parts_sent: BTreeMap<u32, u32>,
    bytes_read: u64,
    /// The store's time, where it was set by hand.
    now_ms: Option<i64>,
}

#[derive(Debug, Clone)]
struct Object {
    body: Bytes,
    attributes: Attributes,
    modified_ms: Option<i64>,
}

#[derive(Debug)]
struct MemoryUpload {
    key: String,
    attributes: Attributes,
    began_ms: Option<i64>,
    last_part_ms: Option<i64>,
    parts: BTreeMap<u32, (Bytes, PartReceipt)>,
}

impl State {
    fn now_ms(&self) -> Option<i64> {
        self.now_ms.or_else(|| unix_ms(SystemTime::now()))
    }

    fn insert(&mut self, key: String, body: Bytes, attributes: Attributes) {
        let modified_ms = self.now_ms();
        self.objects.insert(key, Object { body, attributes, modified_ms });
    }

    /// Why an object may not be put under a key, or deleted.
    fn refusal(&self, key: &str, if_absent: bool) -> Option<StoreErrorKind> {
        let Object { attributes: Attributes { retention, legal_hold, .. }, .. } = self.objects.get(key)?;
        let is_locked = *legal_hold
            || retention.is_some_and(|retention| Some(retention.until.timestamp_millis()) > self.now_ms());
        match (if_absent, is_locked) {
            (true, _) => Some(StoreErrorKind::AlreadyExists),
            (false, locked) => locked.then_some(StoreErrorKind::Locked),
        }
    }
}

impl MemoryStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, kind: StoreErrorKind, operation: &'static str, key: &str) -> StoreError {
        let reason = format!("{kind:?}");
        StoreError::new(kind, self.url(), operation, key, reason)
    }

    /// How often each part number was sent.
    pub fn parts_sent(&self) -> BTreeMap<u32, u32> {
        self.state().parts_sent.clone()
    }

    /// Bytes that `get_range` gave away.
    pub fn bytes_read(&self) -> u64 {
        self.state().bytes_read
    }

    /// Uploads that were begun and neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.state().uploads.len()
    }

    /// Every key.
    pub fn keys(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// Every object's key, bytes and time, in the order of keys.
    pub fn objects(&self) -> Vec<(String, Bytes, Option<i64>)> {
        let state = self.state();
        state.objects.iter().map(|(key, o)| (key.clone(), o.body.clone(), o.modified_ms)).collect()
    }

    /// Another store with the same objects and the same time; uploads that are not completed are not in it.
    #[must_use]
    pub fn deep_copy(&self) -> Self {
        let State { objects, now_ms, .. } = &*self.state();
        let copied = State { objects: objects.clone(), now_ms: *now_ms, ..State::default() };
        Self(Arc::new(Mutex::new(copied)))
    }

    /// What is kept beside an object.
    pub fn kept(&self, key: &str) -> Option<Attributes> {
        self.state().objects.get(key).map(|object| object.attributes.clone())
    }

    /// Sets the store's clock, in Unix milliseconds: what is put from now on has this time, and answers tell it.
    pub fn set_now_ms(&self, now_ms: i64) {
        self.state().now_ms = Some(now_ms);
    }

    /// Replaces an object's bytes with what `change` makes of them.
    ///
    /// # Panics
    /// When there is no such object.
    pub fn alter(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let object = state.objects.get_mut(key).expect("the object exists");
        let mut bytes = object.body.to_vec();
        change(&mut bytes);
        object.body = bytes.into();
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    fn url(&self) -> String {
        "memory://".to_owned()
    }

    fn folders(&self) -> Vec<StoreFolder> {
        Vec::new()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditional_puts: true,
            object_lock: true,
            storage_classes: true,
            metadata: true,
            versions: false,
            parts: PartLimits::NONE,
        }
    }

    fn now_ms(&self) -> Option<i64> {
        self.state().now_ms
    }

    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn put_with(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<()> {
        let mut state = self.state();
        if let Some(kind) = state.refusal(key, options.if_absent) {
            return Err(self.error(kind, "write", key).into());
        }
        state.insert(key.to_owned(), body, options.attributes.clone());
        Ok(())
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let mut state = self.state();
        let missing = || self.error(StoreErrorKind::NotFound, "read", key);
        let object = &state.objects.get(key).ok_or_else(missing)?.body;
        let bound = |at: u64| at.min(object.len() as u64) as usize;
        let bytes = object.slice(bound(range.start)..bound(range.end).max(bound(range.start)));
        state.bytes_read += bytes.len() as u64;
        Ok(bytes)
    }

    async fn head(&self, key: &str) -> Result<Option<u64>> {
        Ok(self.state().objects.get(key).map(|object| object.body.len() as u64))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        let state = self.state();
        let from = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        let found = state.objects.range::<str, _>((from, Bound::Unbounded));
        let mut found = found.take_while(|(key, _)| key.starts_with(prefix));
        let objects = found.by_ref().take(PAGE);
        let objects = objects.map(|(key, object)| ObjectInfo {
            key: key.clone(),
            bytes: object.body.len() as u64,
            modified_ms: object.modified_ms,
        });
        let objects = objects.collect();
        Ok(Page { objects, more: found.next().is_some() })
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let mut state = self.state();
        if let Some(kind) = state.refusal(key, false) {
            return Err(self.error(kind, "delete", key).into());
        }
        state.objects.remove(key);
        Ok(())
    }

    async fn erase(&self, key: &str) -> Result<()> {
        self.delete(key).await
    }

    async fn attributes(&self, key: &str) -> Result<Option<Attributes>> {
        Ok(self.kept(key))
    }

    async fn retain(&self, key: &str, retention: Retention) -> Result<()> {
        let mut state = self.state();
        let missing = || self.error(StoreErrorKind::NotFound, "lock", key);
        let kept = &mut state.objects.get_mut(key).ok_or_else(missing)?.attributes.retention;
        if let Some(stronger) = retention.over(*kept) {
            *kept = Some(stronger);
        }
        Ok(())
    }

    async fn set_legal_hold(&self, key: &str, held: bool) -> Result<()> {
        let mut state = self.state();
        let missing = || self.error(StoreErrorKind::NotFound, "hold", key);
        state.objects.get_mut(key).ok_or_else(missing)?.attributes.legal_hold = held;
        Ok(())
    }

    async fn check_object_lock(&self) -> Result<()> {
        Ok(())
    }

    async fn begin_with(&self, key: &str, attributes: &Attributes) -> Result<Upload> {
        let mut state = self.state();
        state.uploads_begun += 1;
        let upload = Upload { key: key.to_owned(), id: state.uploads_begun.to_string() };
        let (key, attributes, parts) = (upload.key.clone(), attributes.clone(), BTreeMap::new());
        let begun = MemoryUpload { key, attributes, began_ms: state.now_ms(), last_part_ms: None, parts };
        state.uploads.insert(upload.id.clone(), begun);
        Ok(upload)
    }

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        let mut state = self.state();
        *state.parts_sent.entry(part.number).or_default() += 1;
        let gone = || self.error(StoreErrorKind::UploadGone, "write a part of", &upload.key);
        let now_ms = state.now_ms();
        let MemoryUpload { parts, last_part_ms, .. } = state.uploads.get_mut(&upload.id).ok_or_else(gone)?;
        *last_part_ms = now_ms;
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
        let state = self.state();
        let gone = || self.error(StoreErrorKind::UploadGone, "list the parts of", &upload.key);
        let parts = &state.uploads.get(&upload.id).ok_or_else(gone)?.parts;
        Ok(parts.values().map(|(_, receipt)| receipt.clone()).collect())
    }

    async fn last_part_ms(&self, upload: &Upload) -> Result<Option<i64>> {
        let state = self.state();
        let gone = || self.error(StoreErrorKind::UploadGone, "look at the upload of", &upload.key);
        Ok(state.uploads.get(&upload.id).ok_or_else(gone)?.last_part_ms)
    }

    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], if_absent: bool) -> Result<()> {
        let mut state = self.state();
        let error = |kind| self.error(kind, "complete", &upload.key);
        let received = state.uploads.get(&upload.id).ok_or_else(|| error(StoreErrorKind::UploadGone))?;
        let mut body = Vec::new();
        for part in parts {
            let (bytes, _) = received
                .parts
                .get(&part.number)
                .filter(|(_, receipt)| receipt == part)
                .ok_or_else(|| error(StoreErrorKind::Rejected))?;
            body.extend_from_slice(bytes);
        }
        if let Some(kind) = state.refusal(&upload.key, if_absent) {
            return Err(error(kind).into());
        }
        if let Some(MemoryUpload { key, attributes, .. }) = state.uploads.remove(&upload.id) {
            state.insert(key, body.into(), attributes);
        }
        Ok(())
    }

    async fn composite(&self, _: &str) -> Result<Option<Composite>> {
        Ok(None)
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UnfinishedUpload>> {
        let state = self.state();
        let found = state.uploads.iter().filter(|(_, upload)| upload.key.starts_with(prefix));
        let found = found.map(|(id, upload)| UnfinishedUpload {
            upload: Upload { key: upload.key.clone(), id: id.clone() },
            began_ms: upload.began_ms,
        });
        Ok(in_order(found.collect()))
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        self.state().uploads.remove(&upload.id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::conformance;

    #[tokio::test]
    async fn it_conforms() {
        conformance::check(Arc::new(MemoryStore::default())).await;
    }
}
