//! A folder as a store.
//!
//! An object is a file that was written beside its place, synced, and renamed; on a full disk, a small one for which that is
//! [harmless](PutOptions::in_place_if_full) may be overwritten. Names that begin with a dot are work in
//! progress, not objects.
//!
//! | file | holds |
//! | --- | --- |
//! | `store` | the folder itself: opening it, and calls on a blocking thread |
//! | `mark` | which store it is |
//! | `objects`, `uploads` | whole objects; multipart uploads and their `journal` |
//! | `files`, `fault` | files and folders that survive a crash, and what the system answers |

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::objects::capabilities::{Capabilities, PartLimits};
use crate::objects::error::StoreErrorKind;
use crate::objects::local::fault::LocalError;
use crate::objects::local::store::LocalStore;
use crate::objects::object::{Composite, Page, StoreFolder};
use crate::objects::options::{Attributes, PutOptions, Retention};
use crate::objects::store::ObjectStore;
use crate::objects::upload::{Part, PartReceipt, UnfinishedUpload, Upload};
use crate::objects::url::StoreUrl;

mod fault;
mod files;
mod journal;
pub(super) mod mark;
mod objects;
pub(super) mod store;
mod uploads;

#[async_trait]
impl ObjectStore for LocalStore {
    fn url(&self) -> String {
        StoreUrl::local(&self.root).to_string()
    }

    fn folders(&self) -> Vec<StoreFolder> {
        vec![StoreFolder { path: (*self.root).clone(), id: self.id.get().cloned() }]
    }

    /// A file has no attributes that a copy to another file system, or a sync tool, would keep.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditional_puts: true,
            object_lock: false,
            storage_classes: false,
            metadata: false,
            versions: false,
            parts: PartLimits::NONE,
        }
    }

    fn now_ms(&self) -> Option<i64> {
        None
    }

    async fn prepare(&self) -> Result<()> {
        self.run("write to", "the folder", |store, _| store.prepare_now()).await
    }

    async fn put_with(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<()> {
        const OPERATION: &str = "write";
        self.capabilities().check(&options.attributes, || self.url(), OPERATION, key)?;
        let PutOptions { if_absent, in_place_if_full, .. } = *options;
        self.run(OPERATION, key, move |store, key| match store.put_now(key, &body, if_absent) {
            Err(full @ LocalError(StoreErrorKind::Full, _)) if in_place_if_full && !if_absent => {
                store.overwrite_now(key, &body, full)
            }
            done => done,
        })
        .await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.run("read", key, move |store, key| {
            let mut file = File::open(store.path(key)?)?;
            let end = file.metadata()?.len().min(range.end);
            let mut bytes = Vec::with_capacity(end.saturating_sub(range.start) as usize);
            file.seek(SeekFrom::Start(range.start))?;
            file.take(end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
            Ok(bytes.into())
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<Option<u64>> {
        self.run("look up", key, |store, key| match fs::metadata(store.path(key)?) {
            Ok(found) => Ok(found.is_file().then_some(found.len())),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e.into()),
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        let after = after.map(str::to_owned);
        self.run("list", prefix, move |store, prefix| store.list_now(prefix, after.as_deref())).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.run("delete", key, |store, key| store.delete_now(key)).await
    }

    /// A folder keeps no versions.
    async fn erase(&self, key: &str) -> Result<()> {
        self.delete(key).await
    }

    async fn attributes(&self, key: &str) -> Result<Option<Attributes>> {
        Ok(self.head(key).await?.map(|_| Attributes::default()))
    }

    async fn retain(&self, key: &str, retention: Retention) -> Result<()> {
        let attributes = Attributes { retention: Some(retention), ..Attributes::default() };
        self.capabilities().check(&attributes, || self.url(), "lock", key)
    }

    async fn set_legal_hold(&self, key: &str, _: bool) -> Result<()> {
        let attributes = Attributes { legal_hold: true, ..Attributes::default() };
        self.capabilities().check(&attributes, || self.url(), "lock", key)
    }

    async fn check_object_lock(&self) -> Result<()> {
        self.set_legal_hold("", true).await
    }

    async fn begin_with(&self, key: &str, attributes: &Attributes) -> Result<Upload> {
        const OPERATION: &str = "begin an upload of";
        self.capabilities().check(attributes, || self.url(), OPERATION, key)?;
        self.run(OPERATION, key, |store, key| store.begin_now(key)).await
    }

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        let (upload, part) = (upload.clone(), part.clone());
        let key = upload.key.clone();
        self.run("write a part of", &key, move |store, _| store.put_part_now(&upload, &part)).await
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>> {
        let (key, upload) = (upload.key.clone(), upload.clone());
        self.run("list the parts of", &key, move |store, _| store.list_parts_now(&upload)).await
    }

    async fn composite(&self, _: &str) -> Result<Option<Composite>> {
        Ok(None)
    }

    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], if_absent: bool) -> Result<()> {
        let (key, upload, parts) = (upload.key.clone(), upload.clone(), parts.to_vec());
        self.run("complete", &key, move |store, _| store.complete_now(&upload, &parts, if_absent)).await
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UnfinishedUpload>> {
        self.run("list the uploads under", prefix, |store, prefix| store.list_uploads_now(prefix)).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let (key, upload) = (upload.key.clone(), upload.clone());
        self.run("abort the upload of", &key, move |store, _| store.abort_now(&upload)).await
    }

    async fn last_part_ms(&self, upload: &Upload) -> Result<Option<i64>> {
        let (key, upload) = (upload.key.clone(), upload.clone());
        self.run("look at the upload of", &key, move |store, _| store.last_part_ms_now(&upload)).await
    }
}

#[cfg(test)]
mod tests;
