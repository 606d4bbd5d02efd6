//! What the store says of a job that a crash, or an error, has stopped. The bucket is the truth.
//!
//! | the job stands at | and the store | then |
//! | --- | --- | --- |
//! | transferring | has all recorded parts | goes on behind the last of them |
//! | | lacks one, or has another | goes on behind the one before it; what was recorded behind is forgotten |
//! | | has forgotten the upload | the job is lost: it ends, and a new one begins |
//! | sealing | has the archive in its size | goes on to the manifest |
//! | | has the upload and all parts | completes it again |
//! | | lacks parts | goes back to transferring |
//! | publishing | has the archive | puts the manifest (again) |

use intellistor_storage::job::{JobEvent, JobState};
use intellistor_storage::layout::BackupName;
use intellistor_storage::objects::{ObjectStore, PartReceipt, SharedStore, Tee};
use intellistor_storage::queue::{Job, Ledger, PartRecord};
use intellistor_storage::{RetryClass, StoreErrorKind};

use crate::backup::with_copy;
use crate::{Error, Result};

/// Brings the ledger in line with what the store has. Gives what a person should know of that.
pub(super) async fn reconcile(ledger: &Ledger, store: &dyn ObjectStore) -> Result<Option<String>> {
    let job = ledger.job();
    if !matches!(job.state, JobState::Transferring | JobState::Sealing) {
        return Ok(None);
    }
    let Some(upload) = job.upload else {
        return abort_strays(store, &job.name.archive_key()).await.map(|()| None);
    };
    let parts = ledger.parts()?;
    if job.state == JobState::Sealing {
        let sent = parts.iter().map(|part| part.segment.bytes).sum();
        if store.head(&upload.key).await? == Some(sent) {
            return Ok(None);
        }
    }
    let held = match store.list_parts(&upload).await {
        // To look only helps: the store compares the parts again when the archive is completed.
        Err(error) if is_refused(&error) => {
            tracing::warn!(%error, "cannot see which parts the store has; resuming from what was recorded");
            return Ok(None);
        }
        held => held?,
    };
    let kept = parts.iter().take_while(|part| is_held(part, &held)).count();
    if kept == parts.len() {
        return Ok(None);
    }
    let (recorded, kept) = (parts.len() as u32, kept as u32);
    let told =
        format!("the store has {kept} of {recorded} parts that were recorded; the others are made again");
    tracing::warn!("{told}");
    ledger.truncate(kept)?;
    // The archive's end is among what was forgotten.
    ledger.advance(JobEvent::PartsLost)?;
    Ok(Some(told))
}

fn is_held(part: &PartRecord, held: &[PartReceipt]) -> bool {
    let number = part.segment.number;
    held.iter().any(|found| {
        found.number == number
            && found.bytes == part.segment.bytes
            && found.sha256.is_none_or(|digest| digest == part.segment.sha256)
            && (found.etag == part.receipt.etag || found.etag.is_empty())
    })
}

/// Aborts the uploads of one archive: those that a crash left before they were recorded. A store that does not let us is
/// no obstacle to a backup, and the clean-up at the start of a run has warned of it.
pub(super) async fn abort_strays(store: &dyn ObjectStore, archive_key: &str) -> Result<()> {
    let aborted = async {
        for stray in store.list_uploads(archive_key).await? {
            tracing::info!(key = stray.upload.key, "an upload that was never recorded is aborted");
            store.abort_upload(&stray.upload).await?;
        }
        Ok(())
    };
    match aborted.await {
        Err(intellistor_storage::Error::Store(error)) if error.retry_class() == RetryClass::Permanent => {
            tracing::info!(%error, "uploads that were never recorded cannot be looked for");
            Ok(())
        }
        aborted => Ok(aborted?),
    }
}

fn is_refused(error: &intellistor_storage::Error) -> bool {
    matches!(error, intellistor_storage::Error::Store(store) if store.kind == StoreErrorKind::AccessDenied)
}

/// Removes what a job whose ledger was lost has left in the store, as far as it is of no use.
pub(super) async fn clear_lost(store: &dyn ObjectStore, lost: &BackupName) -> Result<()> {
    abort_strays(store, &lost.archive_key()).await?;
    let key = lost.archive_key();
    if store.head(&key).await?.is_some() && store.head(&lost.manifest_key()).await?.is_none() {
        tracing::warn!(
            key,
            "this archive is whole, but the job's ledger was lost before its manifest was made; `restore --without-manifest` opens it"
        );
    }
    Ok(())
}

/// Whether a job can be gone on with under this policy, store and key; else why not.
pub(super) fn obstacle(job: &Job, policy_digest: [u8; 32], store_url: &str) -> Option<&'static str> {
    if job.policy_digest != policy_digest {
        Some("the policy was changed since")
    } else if job.store != store_url {
        Some("backups go to another store now")
    } else {
        None
    }
}

/// Ends a job that cannot be gone on with, and frees the space of what it had sent.
pub(super) async fn abandon(ledger: &Ledger, store: &SharedStore, event: JobEvent) -> Result<()> {
    let job = ledger.job();
    if let Some(upload) = &job.upload {
        let aborted = match with_copy(store, job.copy_to.as_deref()).await {
            Ok(store) => store.abort_upload(upload).await,
            // The copy's disk may be away; what the store has is billed.
            Err(_) => match Tee::of_primary(upload) {
                Some(upload) => store.abort_upload(&upload).await,
                None => Ok(()),
            },
        };
        // What stays behind is only worth a warning; a rule of the bucket removes it some day.
        if let Err(error) = aborted {
            tracing::warn!(%error, key = upload.key, "the parts sent so far stay in the store");
        }
    }
    if let Err(error) = abort_strays(&**store, &job.name.archive_key()).await {
        tracing::warn!(%error, "cannot look for uploads that nobody goes on with");
    }
    match job.state {
        JobState::ShippingLogs(_) | JobState::Ended(_) => Ok(()),
        _ => ledger.advance(event).map(drop).map_err(Error::from),
    }
}
