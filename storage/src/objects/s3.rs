//! S3, and stores that speak its protocol, through the AWS SDK.
//!
//! Every body goes with its SHA-256, which the service checks before it stores anything, unless the store does not
//! accept that header (`checksums`). An upload's checksum is then of the composite kind: SHA-256 over the parts'
//! digests, the
//! same value as the manifest's.
//!
//! | file | holds |
//! | --- | --- |
//! | `store` | the bucket and its client; `settings`, `addressing`, `credentials`, `network` say how it is reached |
//! | `writes`, `look_up`, `download`, `listings` | the calls, by what they do; `etag`, `limits`, `tokens` belong to them |
//! | `locks`; `erasing`, `unlisted` | Object Lock; an object with all of its versions |
//! | `checksums`, `sending`, `timeouts` | what goes with a request, and how long it may take |
//! | `answers`, `clock`, `foreign` | what every answer goes through, and answers that are not S3's |
//! | `description` | how the store is reached, for people |
//! | `errors`, `connection`, `permissions`, `route`, `causes` | what a failure means |

use std::ops::Range;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::objects::capabilities::{Capabilities, PartLimits};
use crate::objects::object::{Composite, Page, StoreFolder};
use crate::objects::options::{Attributes, PutOptions, Retention};
use crate::objects::s3::store::S3Store;
use crate::objects::store::ObjectStore;
use crate::objects::upload::{Part, PartReceipt, UnfinishedUpload, Upload};

pub(super) mod addressing;
mod answers;
mod causes;
mod checksums;
mod clock;
mod connection;
mod credentials;
pub(super) mod description;
mod download;
mod erasing;
mod errors;
mod etag;
mod foreign;
pub(crate) mod limits;
mod listings;
mod locks;
mod look_up;
pub(crate) mod network;
mod permissions;
mod route;
mod sending;
mod settings;
pub(super) mod store;
mod timeouts;
mod tokens;
mod unlisted;
mod writes;

#[async_trait]
impl ObjectStore for S3Store {
    fn url(&self) -> String {
        self.address()
    }

    fn folders(&self) -> Vec<StoreFolder> {
        Vec::new()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditional_puts: false,
            object_lock: true,
            storage_classes: true,
            metadata: true,
            versions: true,
            parts: PartLimits { equal: self.equal_parts.load(Ordering::Relaxed), ..limits::PARTS },
        }
    }

    fn now_ms(&self) -> Option<i64> {
        self.clock.now_ms()
    }

    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn put_with(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<()> {
        self.put_object(key, body, options).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.download(key, range).await
    }

    async fn head(&self, key: &str) -> Result<Option<u64>> {
        self.size(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        self.objects(prefix, after).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        Ok(self.delete_object(key).await?)
    }

    async fn erase(&self, key: &str) -> Result<()> {
        self.erase_object(key).await
    }

    async fn attributes(&self, key: &str) -> Result<Option<Attributes>> {
        self.object_attributes(key).await
    }

    async fn retain(&self, key: &str, retention: Retention) -> Result<()> {
        self.prolong(key, retention).await
    }

    async fn set_legal_hold(&self, key: &str, held: bool) -> Result<()> {
        Ok(self.put_legal_hold(key, held).await?)
    }

    async fn check_object_lock(&self) -> Result<()> {
        Ok(self.object_lock_configuration().await?)
    }

    async fn begin_with(&self, key: &str, attributes: &Attributes) -> Result<Upload> {
        self.checksums.call(|checksum| self.begin_once(key, attributes, checksum)).await
    }

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        self.checksums.call(|checksum| self.put_part_once(upload, part, checksum)).await
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>> {
        Ok(self.parts(upload).await?.into_iter().map(|(receipt, _)| receipt).collect())
    }

    async fn last_part_ms(&self, upload: &Upload) -> Result<Option<i64>> {
        Ok(self.parts(upload).await?.into_iter().filter_map(|(_, arrived)| arrived).max())
    }

    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], if_absent: bool) -> Result<()> {
        self.complete(upload, parts, if_absent).await
    }

    async fn composite(&self, key: &str) -> Result<Option<Composite>> {
        self.digest(key).await
    }

    /// MinIO takes the prefix for a whole key: it finds the uploads of an object, and of a folder none.
    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UnfinishedUpload>> {
        self.uploads(prefix).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        Ok(self.abort(upload).await?)
    }
}
