//! Keeps a local copy while bytes go to the store.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use super::{ObjectStore, Page, Part, PartReceipt, SharedStore, Upload};
use crate::{Error, Result, StoreError, StoreErrorKind};

/// Writes go to both stores, reads to the first. An error of the copy is an error of the whole: a copy that was
/// asked for must not be missing in silence.
#[derive(Debug)]
pub struct Tee {
    primary: SharedStore,
    copy: SharedStore,
}

impl Tee {
    /// Copies what goes to `primary` into `copy`.
    pub fn new(primary: SharedStore, copy: SharedStore) -> Self {
        Self { primary, copy }
    }

    /// An upload's id is that of the copy, a blank, and that of the primary store.
    fn split(&self, upload: &Upload) -> Result<(Upload, Upload)> {
        let (copy, primary) = upload.id.split_once(' ').ok_or_else(|| {
            Error::from(StoreError {
                kind: StoreErrorKind::UploadGone,
                store: self.url(),
                operation: "find the upload of",
                key: upload.key.clone(),
                reason: "there is no such upload".to_owned(),
            })
        })?;
        let with = |id: &str| Upload { key: upload.key.clone(), id: id.to_owned() };
        Ok((with(primary), with(copy)))
    }
}

#[async_trait]
impl ObjectStore for Tee {
    fn url(&self) -> String {
        self.primary.url()
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        self.copy.put(key, body.clone()).await?;
        self.primary.put(key, body).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.primary.get_range(key, range).await
    }

    async fn head(&self, key: &str) -> Result<Option<u64>> {
        self.primary.head(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        self.primary.list(prefix, after).await
    }

    async fn begin_upload(&self, key: &str) -> Result<Upload> {
        let copy = self.copy.begin_upload(key).await?;
        match self.primary.begin_upload(key).await {
            Ok(primary) => Ok(Upload { key: key.to_owned(), id: format!("{} {}", copy.id, primary.id) }),
            Err(error) => {
                self.copy.abort_upload(&copy).await?;
                Err(error)
            }
        }
    }

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        let (primary, copy) = self.split(upload)?;
        let (sent, copied) =
            futures::join!(self.primary.put_part(&primary, part), self.copy.put_part(&copy, part));
        copied?;
        sent
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>> {
        let (primary, copy) = self.split(upload)?;
        let copied = self.copy.list_parts(&copy).await?;
        let mut parts = self.primary.list_parts(&primary).await?;
        parts.retain(|part| copied.iter().any(|c| (c.number, c.bytes) == (part.number, part.bytes)));
        Ok(parts)
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[PartReceipt]) -> Result<()> {
        let (primary, copy) = self.split(upload)?;
        // The copy has receipts of its own for the same parts.
        let mut copied = self.copy.list_parts(&copy).await?;
        copied.retain(|c| parts.iter().any(|part| (c.number, c.bytes) == (part.number, part.bytes)));
        self.copy.complete_upload(&copy, &copied).await?;
        self.primary.complete_upload(&primary, parts).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let Ok((primary, copy)) = self.split(upload) else { return Ok(()) };
        self.copy.abort_upload(&copy).await?;
        self.primary.abort_upload(&primary).await
    }
}
