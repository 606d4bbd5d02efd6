//! Keeps a local copy while bytes go to the store.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{ObjectStore, Page, Part, PartReceipt, PutOptions, SharedStore, UnfinishedUpload, Upload};
use crate::{Error, Result, StoreError, StoreErrorKind};

/// Writes go to both stores, reads to the first. An error of the copy is an error of the whole: a copy that was
/// asked for must not be missing in silence.
///
/// An upload's id is that of the copy, a blank, and that of the primary store. A crash may leave either half
/// alone, and then the other is empty: such an upload can be listed and aborted, and is gone for all else.
/// Neither store knows of the other, so a listing joins two halves only where each store has exactly one upload
/// of the key; of several it gives the halves singly. Who aborts what a listing found must therefore spare a
/// living upload by its key and not by its id.
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

    /// The two halves of an upload that both stores have.
    fn split(&self, upload: &Upload) -> Result<(Upload, Upload)> {
        let (Some(primary), Some(copy)) = halves(upload) else {
            let reason = "there is no such upload".to_owned();
            return Err(fault(
                &self.primary,
                StoreErrorKind::UploadGone,
                "find the upload of",
                upload,
                reason,
            ));
        };
        Ok((primary, copy))
    }

    /// An upload's half in the primary store, for when the copy cannot be reached.
    pub fn of_primary(upload: &Upload) -> Option<Upload> {
        halves(upload).0
    }

    /// The parts that the copy holds; `None` when it is complete.
    async fn copied(&self, copy: &Upload) -> Result<Option<Vec<PartReceipt>>> {
        match self.copy.list_parts(copy).await {
            Err(Error::Store(error)) if error.kind == StoreErrorKind::UploadGone => {
                // An archive's key is that of one backup, so nothing else can stand there.
                match self.copy.head(&copy.key).await? {
                    Some(_) => Ok(None),
                    None => Err(error.into()),
                }
            }
            listed => listed.map(Some),
        }
    }
}

#[async_trait]
impl ObjectStore for Tee {
    fn url(&self) -> String {
        self.primary.url()
    }

    async fn put_with(&self, key: &str, body: Bytes, options: PutOptions) -> Result<()> {
        self.copy.put_with(key, body.clone(), options).await?;
        self.primary.put_with(key, body, options).await
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
            Ok(primary) => Ok(joined(key, &copy.id, &primary.id)),
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
        let mut parts = self.primary.list_parts(&primary).await?;
        let Some(copied) = self.copied(&copy).await? else { return Ok(parts) };
        parts.retain(|part| copied.iter().any(|c| (c.number, c.bytes) == (part.number, part.bytes)));
        Ok(parts)
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[PartReceipt]) -> Result<()> {
        let (primary, copy) = self.split(upload)?;
        // The copy has receipts of its own for the same parts; and it may be complete already, when a crash came
        // between the two.
        if let Some(mut copied) = self.copied(&copy).await? {
            copied.retain(|c| parts.iter().any(|part| (c.number, c.bytes) == (part.number, part.bytes)));
            if copied.len() != parts.len() {
                let reason = format!("it holds {} of {} parts", copied.len(), parts.len());
                return Err(fault(&self.copy, StoreErrorKind::Rejected, "complete", upload, reason));
            }
            self.copy.complete_upload(&copy, &copied).await?;
        }
        self.primary.complete_upload(&primary, parts).await
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UnfinishedUpload>> {
        let (copies, primaries) =
            futures::try_join!(self.copy.list_uploads(prefix), self.primary.list_uploads(prefix))?;
        let of_key = |all: &[UnfinishedUpload], key: &str| all.iter().filter(|u| u.upload.key == key).count();
        let is_pair = |key: &str| of_key(&copies, key) == 1 && of_key(&primaries, key) == 1;
        let mut found = Vec::new();
        for copy in &copies {
            let key = &copy.upload.key;
            let other = primaries.iter().find(|p| p.upload.key == *key).filter(|_| is_pair(key));
            let id = other.map_or("", |p| &p.upload.id);
            found.push(UnfinishedUpload { upload: joined(key, &copy.upload.id, id), ..copy.clone() });
        }
        for primary in primaries.iter().filter(|p| !is_pair(&p.upload.key)) {
            let upload = joined(&primary.upload.key, "", &primary.upload.id);
            found.push(UnfinishedUpload { upload, ..primary.clone() });
        }
        Ok(super::in_order(found))
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let (primary, copy) = halves(upload);
        let abort = async |store: &SharedStore, half: Option<Upload>| match half {
            Some(half) => store.abort_upload(&half).await,
            None => Ok(()),
        };
        // One that fails does not keep the other from being freed.
        let (primary, copy) = futures::join!(abort(&self.primary, primary), abort(&self.copy, copy));
        copy.and(primary)
    }

    /// The copy is a folder, whose files have no room for labels.
    fn labelled(&self, trace_id: &str) -> Option<SharedStore> {
        let primary = self.primary.labelled(trace_id)?;
        Some(Arc::new(Self { primary, copy: self.copy.clone() }))
    }
}

fn fault(
    store: &SharedStore,
    kind: StoreErrorKind,
    operation: &'static str,
    upload: &Upload,
    reason: String,
) -> Error {
    StoreError::new(kind, store.url(), operation, &upload.key, reason).into()
}

fn joined(key: &str, copy: &str, primary: &str) -> Upload {
    Upload { key: key.to_owned(), id: format!("{copy} {primary}") }
}

/// The upload in the primary store and in the copy.
fn halves(upload: &Upload) -> (Option<Upload>, Option<Upload>) {
    let (copy, primary) = upload.id.split_once(' ').unwrap_or_default();
    let half = |id: &str| (!id.is_empty()).then(|| Upload { key: upload.key.clone(), id: id.to_owned() });
    (half(primary), half(copy))
}
