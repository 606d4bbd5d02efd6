//! Removes an object with all that a bucket has kept of it.
//!
//! In a bucket with versions, `DELETE` only hides an object under a delete marker, and its bytes are billed on. Each
//! version is therefore deleted by its id: the older ones first, so that an interrupted call reveals none of them, and
//! the markers last, and only where no version is left that they hide. No request bypasses a retention.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::delete_object::{DeleteObjectError, DeleteObjectOutput};
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use chrono::{DateTime, Utc};

use super::locks;
use super::store::S3Store;
use crate::error::{Error, Result};
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::options::Attributes;

const OPERATION: &str = "erase";
const LIST: &str = "list the versions of";
/// Of an object that was put before its bucket kept versions, or that is in one that keeps none.
const NO_VERSION: &str = "null";

/// A version of an object, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    id: String,
    is_marker: bool,
}

impl S3Store {
    pub(super) async fn erase_object(&self, key: &str) -> Result<()> {
        if self.unlisted.is_known() {
            return Ok(self.delete_object(key).await?);
        }
        let versions = match self.versions(key).await {
            Ok(versions) => versions,
            Err(Error::Store(refused)) if is_lacking(&refused) => {
                self.unlisted.report(&refused);
                return Ok(self.delete_object(key).await?);
            }
            Err(error) => return Err(error),
        };
        if versions.is_empty() {
            // Not every store that keeps no versions lists its objects as such. A delete marker for what is not there would
            // be one more version.
            return match self.size(key).await? {
                Some(_) => Ok(self.delete_object(key).await?),
                None => Ok(()),
            };
        }
        let (markers, objects): (Vec<_>, Vec<_>) = versions.iter().partition(|version| version.is_marker);
        let mut kept = None;
        for version in objects.into_iter().rev() {
            match self.erase_version(key, version, versions.len() == 1).await {
                Err(Error::Store(refused)) if refused.kind == StoreErrorKind::Locked => {
                    // The last one is the newest, of which people know.
                    kept = Some(refused);
                }
                erased => erased?,
            }
        }
        if let Some(locked) = kept {
            return Err(locked.into());
        }
        for marker in markers.into_iter().rev() {
            self.erase_version(key, marker, false).await?;
        }
        Ok(())
    }

    /// Versions and delete markers of exactly this key, the newest first.
    async fn versions(&self, key: &str) -> Result<Vec<Version>> {
        let full = self.full_key(key);
        let (mut found, mut marker) = (Vec::new(), None);
        loop {
            let (after_key, after_id) = marker.clone().unzip();
            let request = self.client.list_object_versions().bucket(&self.bucket).prefix(&full);
            let request = request.set_key_marker(after_key).set_version_id_marker(after_id.flatten());
            let page = request.send().await.map_err(self.store_error(LIST, key))?;
            collect(&page, &full, &mut found);
            let next = page.next_key_marker().filter(|key| !key.is_empty()).map(str::to_owned);
            if !page.is_truncated().unwrap_or(next.is_some()) {
                break;
            }
            let next = next.map(|key| (key, page.next_version_id_marker().map(str::to_owned)));
            if next.is_none() || next == marker {
                return Err(self.goes_nowhere(LIST, key).into());
            }
            marker = next;
        }
        // Stores do not agree on the order of versions and markers; only that of time is needed.
        found.sort_by_key(|(_, is_latest, at)| (!is_latest, std::cmp::Reverse(*at)));
        Ok(found.into_iter().map(|(version, ..)| version).collect())
    }

    async fn erase_version(&self, key: &str, version: &Version, is_only: bool) -> Result<()> {
        let request = self.client.delete_object().bucket(&self.bucket).key(self.full_key(key));
        let answer = request.version_id(&version.id).send().await;
        let refused = match self.version_is_gone(key, answer) {
            Err(refused) => refused,
            Ok(()) => return Ok(()),
        };
        let may_be_locked = matches!(refused.kind, StoreErrorKind::AccessDenied | StoreErrorKind::Locked);
        if may_be_locked
            && !version.is_marker
            && let Some(locked) = self.lock_of(key, &version.id, &refused).await
        {
            return Err(locked.into());
        }
        // Without versions there is no right to delete them, or no such call.
        let is_lacking = is_lacking(&refused) || refused.kind == StoreErrorKind::Rejected;
        if is_only && is_lacking && version.id == NO_VERSION && !version.is_marker {
            self.delete_object(key).await?;
            self.unlisted.report(&refused);
            return Ok(());
        }
        Err(refused.into())
    }

    /// One that another call has deleted is no error.
    fn version_is_gone(
        &self,
        key: &str,
        answer: Result<DeleteObjectOutput, SdkError<DeleteObjectError, HttpResponse>>,
    ) -> Result<(), StoreError> {
        match answer.map_err(self.store_error("delete a version of", key)) {
            Err(error) if error.kind != StoreErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What keeps a version from being deleted, if it is a lock. S3 refuses it with the words for a missing permission.
    async fn lock_of(&self, key: &str, id: &str, refused: &StoreError) -> Option<StoreError> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.full_key(key));
        let now = self.clock.now_ms().and_then(DateTime::from_timestamp_millis).unwrap_or_else(Utc::now);
        // Where the look fails, the refusal says what is known.
        let found = request.version_id(id).send().await.ok().map(|found| locks::attributes(&found));
        let reason = match found {
            Some(Attributes { legal_hold: true, .. }) => "it is under a legal hold".to_owned(),
            Some(Attributes { retention: Some(retention), .. }) if retention.until > now => {
                format!(
                    "it is locked until {} ({:?} mode)",
                    retention.until.format("%Y-%m-%d %H:%M UTC"),
                    retention.mode
                )
            }
            _ if refused.kind == StoreErrorKind::Locked => refused.reason.clone(),
            _ => return None,
        };
        Some(StoreError::new(StoreErrorKind::Locked, self.address(), OPERATION, key, reason))
    }
}

/// A version, whether it is the latest, and when it was put.
type Found = (Version, bool, Option<i64>);

fn collect(page: &ListObjectVersionsOutput, full_key: &str, found: &mut Vec<Found>) {
    let time = |at: Option<&aws_sdk_s3::primitives::DateTime>| at.and_then(|at| at.to_millis().ok());
    for version in page.versions().iter().filter(|version| version.key() == Some(full_key)) {
        let id = version.version_id().filter(|id| !id.is_empty()).unwrap_or(NO_VERSION).to_owned();
        let is_latest = version.is_latest().unwrap_or(false);
        found.push((Version { id, is_marker: false }, is_latest, time(version.last_modified())));
    }
    for marker in page.delete_markers().iter().filter(|marker| marker.key() == Some(full_key)) {
        let id = marker.version_id().filter(|id| !id.is_empty()).unwrap_or(NO_VERSION).to_owned();
        let is_latest = marker.is_latest().unwrap_or(false);
        found.push((Version { id, is_marker: true }, is_latest, time(marker.last_modified())));
    }
}

/// The store has no versions, or gives no right to see or delete them.
fn is_lacking(refused: &StoreError) -> bool {
    matches!(refused.kind, StoreErrorKind::AccessDenied | StoreErrorKind::Unsupported)
}
