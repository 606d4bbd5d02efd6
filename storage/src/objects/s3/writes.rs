//! What is stored: objects, uploads, parts; and what is deleted.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ObjectLockLegalHoldStatus, ObjectLockMode,
    StorageClass,
};
use bytes::Bytes;

use super::checksums::Checksum;
use super::etag::quoted;
use super::foreign::NotS3;
use super::limits::{MAX_PART_BYTES, MAX_PARTS};
use super::sending::Outgoing;
use super::store::S3Store;
use super::timeouts;
use crate::error::{Error, Result};
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::hashed::Hashed;
use crate::objects::options::{Attributes, PutOptions, RetentionMode};
use crate::objects::upload::{Part, PartReceipt, Upload};

/// Both requests that create an object take the same headers, and share no trait.
macro_rules! with_attributes {
    ($request:expr, $attributes:expr) => {{
        let Attributes { retention, legal_hold, storage_class, metadata } = $attributes;
        let metadata: HashMap<_, _> = metadata.clone().into_iter().collect();
        $request
            .set_object_lock_mode(retention.map(|retention| match retention.mode {
                RetentionMode::Governance => ObjectLockMode::Governance,
                RetentionMode::Compliance => ObjectLockMode::Compliance,
            }))
            .set_object_lock_retain_until_date(
                retention.map(|retention| DateTime::from_secs(retention.until.timestamp())),
            )
            .set_object_lock_legal_hold_status(legal_hold.then_some(ObjectLockLegalHoldStatus::On))
            .set_storage_class(storage_class.as_deref().map(StorageClass::from))
            .set_metadata(Some(metadata).filter(|metadata| !metadata.is_empty()))
    }};
}

impl S3Store {
    /// Stores a whole object. A store that refuses the condition is asked without it, after a look.
    pub(super) async fn put_object(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<()> {
        let body = &Hashed::new(body);
        let PutOptions { if_absent, attributes, .. } = options;
        let put = async |if_absent| {
            self.checksums.call(|c| self.put_once(key, body, if_absent, attributes, c)).await
        };
        match put(*if_absent).await {
            Err(Error::Store(refused)) if *if_absent && may_be_for_the_condition(&refused) => {
                self.look_before("write", key).await?;
                put(false).await
            }
            outcome => outcome,
        }
    }

    /// Completes an upload, as [`put_object`](Self::put_object) puts.
    pub(super) async fn complete(
        &self,
        upload: &Upload,
        parts: &[PartReceipt],
        if_absent: bool,
    ) -> Result<()> {
        let complete =
            async |if_absent| self.checksums.call(|c| self.complete_once(upload, parts, if_absent, c)).await;
        let completed = match complete(if_absent).await {
            Err(Error::Store(refused)) if if_absent && may_be_for_the_condition(&refused) => {
                self.look_before("complete", &upload.key).await?;
                complete(false).await
            }
            outcome => outcome,
        };
        if matches!(&completed, Err(Error::Store(error)) if error.kind == StoreErrorKind::UnequalParts) {
            self.equal_parts.store(true, Ordering::Relaxed);
        }
        completed
    }

    pub(super) async fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
        let request =
            self.client.abort_multipart_upload().bucket(&self.bucket).key(self.full_key(&upload.key));
        let refused = self.store_error("abort the upload of", &upload.key);
        match request.upload_id(&upload.id).send().await.map_err(refused) {
            Err(error) if error.kind != StoreErrorKind::UploadGone => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) async fn delete_object(&self, key: &str) -> Result<(), StoreError> {
        let request = self.client.delete_object().bucket(&self.bucket).key(self.full_key(key));
        match request.send().await.map_err(self.store_error("delete", key)) {
            // S3 answers 204 for an object that does not exist; some compatible stores answer 404.
            Err(error) if error.kind != StoreErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The `ETag` that the answer to a stored body must have.
    fn stored(&self, operation: &'static str, key: &str, etag: Option<&str>) -> Result<String, StoreError> {
        let etag = quoted(etag);
        if etag.is_empty() {
            return Err(self.foreign(operation, key, &NotS3::without("ETag")));
        }
        Ok(etag)
    }

    async fn put_once(
        &self,
        key: &str,
        body: &Hashed,
        if_absent: bool,
        attributes: &Attributes,
        checksum: Checksum,
    ) -> Result<(), StoreError> {
        let (operation, checksum) = match checksum {
            _ if !attributes.lock() => ("write", checksum),
            // S3 takes no object under lock without a checksum.
            Checksum::None => ("write under lock", Checksum::Md5),
            _ => ("write under lock", checksum),
        };
        // With a lock, some stores take a checksum only where its algorithm is named, as SDKs do.
        let algorithm =
            (attributes.lock() && checksum == Checksum::Sha256).then_some(ChecksumAlgorithm::Sha256);
        let request = self.client.put_object().bucket(&self.bucket).key(self.full_key(key));
        let request = request.set_checksum_algorithm(algorithm);
        let request = request.set_checksum_sha256(checksum.sha256(Some(body.sha256())));
        let request = request.set_content_md5(checksum.md5(body).await);
        let request = request.set_if_none_match(if_absent.then(|| "*".to_owned()));
        let request = with_attributes!(request, attributes).content_length(body.len() as i64);
        let outgoing = Outgoing::new(body, self.throttle.clone());
        let request = outgoing.request(request.body(outgoing.stream()).customize());
        let answer = outgoing.watch(request.send()).await.map_err(self.store_error(operation, key))?;
        self.stored(operation, key, answer.e_tag()).map(drop)
    }

    pub(super) async fn begin_once(
        &self,
        key: &str,
        attributes: &Attributes,
        checksum: Checksum,
    ) -> Result<Upload, StoreError> {
        let operation = if attributes.lock() { "begin a locked upload of" } else { "begin an upload of" };
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(self.full_key(key));
        // Of SHA-256, the composite type is the default. Not every store that takes the algorithm takes the type.
        let algorithm = (checksum == Checksum::Sha256).then_some(ChecksumAlgorithm::Sha256);
        let request = with_attributes!(request.set_checksum_algorithm(algorithm), attributes);
        let answer = request.send().await.map_err(self.store_error(operation, key))?;
        let id = answer.upload_id().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| self.foreign(operation, key, &NotS3::without("an upload id")))?;
        Ok(Upload { key: key.to_owned(), id: id.to_owned() })
    }

    pub(super) async fn put_part_once(
        &self,
        upload: &Upload,
        part: &Part,
        checksum: Checksum,
    ) -> Result<PartReceipt, StoreError> {
        const OPERATION: &str = "write a part of";
        if part.number > MAX_PARTS || part.body.len() as u64 > MAX_PART_BYTES {
            let reason =
                format!("part {} of {} bytes exceeds the limits of S3", part.number, part.body.len());
            let kind = StoreErrorKind::Rejected;
            return Err(StoreError::new(kind, self.address(), OPERATION, &upload.key, reason));
        }
        let request = self.client.upload_part().bucket(&self.bucket).key(self.full_key(&upload.key));
        let request = request.upload_id(&upload.id).part_number(part.number as i32);
        let request = request.content_length(part.body.len() as i64);
        let request = request.set_checksum_sha256(checksum.sha256(Some(part.body.sha256())));
        let request = request.set_content_md5(checksum.md5(&part.body).await);
        let outgoing = Outgoing::new(&part.body, self.throttle.clone());
        let request = outgoing.request(request.body(outgoing.stream()).customize());
        let sent = outgoing.watch(request.send()).await;
        let answer = sent.map_err(self.store_error(OPERATION, &upload.key))?;
        Ok(PartReceipt {
            number: part.number,
            bytes: part.body.len() as u64,
            sha256: (checksum == Checksum::Sha256).then(|| part.body.sha256()),
            etag: self.stored(OPERATION, &upload.key, answer.e_tag())?,
        })
    }

    async fn complete_once(
        &self,
        upload: &Upload,
        parts: &[PartReceipt],
        if_absent: bool,
        checksum: Checksum,
    ) -> Result<(), StoreError> {
        let completed = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(part.number as i32)
                .e_tag(&part.etag)
                .set_checksum_sha256(checksum.sha256(part.sha256))
                .build()
        });
        let completed = CompletedMultipartUpload::builder().set_parts(Some(completed.collect())).build();
        let request =
            self.client.complete_multipart_upload().bucket(&self.bucket).key(self.full_key(&upload.key));
        let request = request.upload_id(&upload.id).multipart_upload(completed);
        let request = request.set_if_none_match(if_absent.then(|| "*".to_owned()));
        let patient =
            aws_sdk_s3::config::Builder::new().timeout_config(timeouts::limited(timeouts::COMPLETION));
        let completed = request.customize().config_override(patient).send().await;
        completed.map_err(self.store_error("complete", &upload.key)).map(drop)
    }

    /// For a store that refuses a condition: a look has to do.
    async fn look_before(&self, operation: &'static str, key: &str) -> Result<()> {
        let found = self.size(key).await?;
        let reason = "there is already such an object";
        let exists =
            || StoreError::new(StoreErrorKind::AlreadyExists, self.address(), operation, key, reason);
        found.map_or(Ok(()), |_| Err(exists().into()))
    }
}

/// A refusal of the request as it is. Asked again without the condition, the store gives its true reason.
fn may_be_for_the_condition(refused: &StoreError) -> bool {
    matches!(refused.kind, StoreErrorKind::Rejected | StoreErrorKind::Unsupported)
}
