//! Uploads in the store that no run will complete. They are billed, and removed only where this machine owns them by its
//! own records, or where no part has arrived for a week.

use chrono::Utc;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::objects::{ObjectStore, UnfinishedUpload};
use intellistor_storage::state::Queue;
use intellistor_storage::{Error as StorageError, RetryClass, StoreErrorKind};

use crate::error::Result;

/// An upload without a new part for this long is abandoned.
const ABANDONED_MS: i64 = 7 * 24 * 3600 * 1000;

/// Aborts uploads of jobs whose ledger was lost, and those of the policy that were abandoned. The policy must be this
/// machine's; `job` is the one that is about to run.
pub(super) async fn clean_up(queue: &Queue, store: &dyn ObjectStore, job: &BackupName) -> Result<()> {
    for lost in queue.lost_jobs(job)? {
        clear_lost(store, &lost).await?;
        queue.forget_lost_job(&lost)?;
    }
    let prefix = BackupName::policy_prefix(&job.policy_id);
    for UnfinishedUpload { upload, began_ms } in store.list_uploads(&prefix).await? {
        // This machine's clock may be years ahead.
        let now_ms = store.now_ms().unwrap_or_else(|| Utc::now().timestamp_millis());
        let is_old = |ms: i64| now_ms.saturating_sub(ms) > ABANDONED_MS;
        if upload.key == job.archive_key() || !began_ms.is_some_and(is_old) {
            continue;
        }
        match store.last_part_ms(&upload).await {
            Ok(last_part_ms) if last_part_ms.is_none_or(is_old) => {
                tracing::info!(key = upload.key, "aborting an upload that was not used for a week");
                store.abort_upload(&upload).await?;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, key = upload.key, "cannot tell when this upload was last used; it is kept");
            }
        }
    }
    Ok(())
}

/// Aborts the uploads of a job whose ledger was lost. A complete archive stays.
async fn clear_lost(store: &dyn ObjectStore, lost: &BackupName) -> Result<()> {
    let key = lost.archive_key();
    for left in store.list_uploads(&key).await? {
        tracing::info!(key, "aborting the upload of a job whose records were lost");
        store.abort_upload(&left.upload).await?;
    }
    if store.head(&key).await?.is_some() && store.head(&lost.manifest_key()).await?.is_none() {
        tracing::warn!(
            key,
            "this archive is complete, but the job's records were lost before its manifest was written; `restore \
             --without-manifest` restores from it"
        );
    }
    Ok(())
}

/// Aborts the uploads of one archive that were never recorded: a crash came before, or an answer was lost. They have
/// no parts; one that has some was recorded by its sender, which may be a copy of this agent's home. A store that
/// refuses is no obstacle to a backup, and the clean-up at the start of a run has warned of it.
pub(super) async fn abort_unrecorded(store: &dyn ObjectStore, archive_key: &str) -> Result<()> {
    let aborted = async {
        for found in store.list_uploads(archive_key).await? {
            match store.list_parts(&found.upload).await {
                Ok(parts) if !parts.is_empty() => continue,
                Err(StorageError::Store(error)) if error.kind != StoreErrorKind::UploadGone => {
                    return Err(StorageError::Store(error));
                }
                _ => {}
            }
            tracing::info!(key = found.upload.key, "aborting an upload that was never recorded");
            store.abort_upload(&found.upload).await?;
        }
        Ok(())
    };
    match aborted.await {
        Err(StorageError::Store(error)) if error.retry_class() == RetryClass::Permanent => {
            tracing::info!(%error, "cannot look for uploads that were never recorded");
            Ok(())
        }
        aborted => Ok(aborted?),
    }
}
