//! Whether an object exists, and what a store knows about it.

use std::sync::atomic::Ordering;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ChecksumMode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checksums::Checksum;
use super::errors::{is_behind_the_end, service_kind, status};
use super::foreign::{NotS3, is_s3};
use super::permissions;
use super::store::S3Store;
use crate::error::Result;
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::object::Composite;

impl S3Store {
    /// The object's size in bytes.
    pub(super) async fn size(&self, key: &str) -> Result<Option<u64>> {
        let size =
            |found: HeadObjectOutput| found.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        Ok(self.look_up(key).await?.map(size))
    }

    /// What HEAD says of an object.
    pub(super) async fn look_up(&self, key: &str) -> Result<Option<HeadObjectOutput>> {
        const OPERATION: &str = "look up";
        let answer = self.client.head_object().bucket(&self.bucket).key(self.full_key(key)).send().await;
        match answer {
            Ok(found) if found.e_tag().is_none() && found.last_modified().is_none() => {
                Err(self.foreign(OPERATION, key, &NotS3::without("ETag and Last-Modified")).into())
            }
            Ok(found) => {
                self.may_read.store(true, Ordering::Relaxed);
                Ok(Some(found))
            }
            // An answer to HEAD has no body, so a missing bucket looks like a missing object here.
            Err(error)
                if status(&error) == Some(404)
                    && error.raw_response().is_some_and(|raw| is_s3(raw.headers())) =>
            {
                Ok(None)
            }
            Err(error) => match status(&error) {
                Some(status @ (300..=407 | 409..=428 | 430..=499)) => {
                    let refused = self.store_error(OPERATION, key)(error);
                    self.missing_or_refused(key, refused, status).await.map(|()| None)
                }
                _ => Err(self.store_error(OPERATION, key)(error).into()),
            },
        }
    }

    pub(super) async fn digest(&self, key: &str) -> Result<Option<Composite>> {
        if self.checksums.current() != Checksum::Sha256 {
            return Ok(None);
        }
        let request = self.client.head_object().bucket(&self.bucket).key(self.full_key(key));
        match request.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(answer) => Ok(answer.checksum_sha256().and_then(composite)),
            // A store that does not know the question has no answer to it.
            Err(error)
                if matches!(status(&error), Some(400 | 405 | 501)) && self.size(key).await?.is_some() =>
            {
                Ok(None)
            }
            Err(error) => Err(self.store_error("look up", key)(error).into()),
        }
    }

    /// What a refused HEAD means: `Ok` where there is no such object. Its answer has no body; that to the same question as
    /// a GET says why.
    async fn missing_or_refused(&self, key: &str, refused: StoreError, status: u16) -> Result<()> {
        let request =
            self.client.get_object().bucket(&self.bucket).key(self.full_key(key)).range("bytes=0-0");
        let error = match request.send().await {
            Err(error) if !is_behind_the_end(&error) => self.store_error("look up", key)(error),
            // There is an object, of which no byte may be there: HEAD alone is refused.
            _ => {
                let kind = match service_kind("", status) {
                    StoreErrorKind::NotFound => return Err(refused.into()),
                    // A request that was bad a moment ago, and is good now.
                    StoreErrorKind::Rejected => StoreErrorKind::ServerFault,
                    kind => kind,
                };
                let words = format!("HTTP status {status}");
                let reason = match kind {
                    StoreErrorKind::AccessDenied => {
                        permissions::refused("look up", &self.bucket, &self.full_key(key), &words)
                    }
                    _ => words,
                };
                return Err(StoreError { kind, reason, ..refused }.into());
            }
        };
        match error.kind {
            StoreErrorKind::NotFound => Ok(()),
            StoreErrorKind::AccessDenied if self.may_read.load(Ordering::Relaxed) => Ok(()),
            _ => Err(error.into()),
        }
    }
}

/// Reads `<base64 of the digest>-<number of parts>`. The checksum of an object that was put whole has no number.
fn composite(text: &str) -> Option<Composite> {
    let (digest, parts) = text.rsplit_once('-')?;
    Some(Composite { sha256: STANDARD.decode(digest).ok()?.try_into().ok()?, parts: parts.parse().ok()? })
}
