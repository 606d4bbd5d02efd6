//! What the store says of a job that a crash, or an error, has stopped. The bucket is the truth.
//!
//! | the job stands at | and the store | then |
//! | --- | --- | --- |
//! | transferring | has all recorded parts | goes on behind the last of them |
//! | | lacks one | goes on behind the one before it; what was recorded behind is forgotten |
//! | | has another one in its place | the same, once: a request of a run that died may have arrived late; the second time the home was copied, as below |
//! | | has forgotten the upload | the job is lost: it ends, and a new one begins |
//! | | has an archive of that name | the home was copied, and the other copy has gone on: the job ends, what it had sent is left alone, and a new one begins |
//! | sealing | has the archive, by its digests | goes on to the manifest |
//! | | has another archive of that name | the home was copied, as above |
//! | | has the upload and all parts | completes it again |
//! | | lacks parts | goes back to transferring |
//! | publishing | has the archive | puts the manifest, or finds it put |
//!
//! A job that has no upload yet goes on under a new name: nothing is lost by it, and of two copies each has its own.

use std::fmt::Display;

use intellistor_storage::archive::Header;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::objects::{ObjectStore, PartReceipt, SharedStore, StoreUrl};
use intellistor_storage::state::job::{JobEvent, JobState};
use intellistor_storage::state::{Job, Ledger, PartRecord};
use intellistor_storage::{Error as Storage, RetryClass, StoreErrorKind};

use crate::catalog::Catalog;
use crate::error::Result;
use crate::operations::copies::Copies;
use crate::operations::identity;
use crate::operations::identity::Held;
use crate::operations::publish::overtaken;

/// What a ledger had to forget.
#[derive(Debug, Default)]
pub(super) struct Reconciled {
    /// What a person should know of it.
    pub(super) told: Option<String>,
    /// Whether the store has another part in the place of one that was recorded.
    pub(super) has_others: bool,
}

/// Brings the ledger in line with what the store has.
pub(super) async fn reconcile(
    ledger: &Ledger,
    header: &Header,
    store: &dyn ObjectStore,
) -> Result<Reconciled> {
    let job = ledger.job();
    let Some(upload) = job.upload else { return Ok(Reconciled::default()) };
    if !matches!(job.state, JobState::Transferring | JobState::Sealing) {
        return Ok(Reconciled::default());
    }
    let parts = ledger.parts()?;
    if job.state == JobState::Sealing {
        let segments: Vec<_> = parts.iter().map(|part| &part.segment).collect();
        match identity::archive_before(store, header, &segments).await? {
            Held::Ours => return Ok(Reconciled::default()),
            Held::Other => return Err(overtaken(store, &upload.key)),
            Held::Absent => {}
        }
    }
    let held = match store.list_parts(&upload).await {
        // To look only helps: the store compares the parts again when the archive is completed.
        Err(error) if is_refused(&error) => {
            tracing::warn!(%error, "cannot see which parts the store has; resuming from what was recorded");
            return Ok(Reconciled::default());
        }
        held => held?,
    };
    let kept = parts.iter().take_while(|part| is_held(part, &held)).count();
    if kept == parts.len() {
        return Ok(Reconciled::default());
    }
    let has_others = parts
        .iter()
        .any(|part| !is_held(part, &held) && held.iter().any(|h| h.number == part.segment.number));
    let (recorded, kept) = (parts.len() as u32, kept as u32);
    let told = format!("the store has {kept} of {recorded} recorded parts; the rest is uploaded again");
    tracing::warn!(has_others, "{told}");
    ledger.truncate(kept)?;
    // The archive's end is among what was forgotten.
    ledger.advance(JobEvent::PartsLost)?;
    Ok(Reconciled { told: Some(told), has_others })
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

/// Aborts the uploads of one archive that were never recorded: a crash came before, or an answer was lost. They have
/// no parts; one that has some is recorded by whoever sends them, which may be a copy of this agent's home. A store that
/// does not let us is no obstacle to a backup, and the clean-up at the start of a run has warned of it.
pub(super) async fn abort_strays(store: &dyn ObjectStore, archive_key: &str) -> Result<()> {
    let aborted = async {
        for stray in store.list_uploads(archive_key).await? {
            match store.list_parts(&stray.upload).await {
                Ok(parts) if !parts.is_empty() => continue,
                Err(Storage::Store(error)) if error.kind != StoreErrorKind::UploadGone => {
                    return Err(Storage::Store(error));
                }
                _ => {}
            }
            tracing::info!(key = stray.upload.key, "an upload that was never recorded is aborted");
            store.abort_upload(&stray.upload).await?;
        }
        Ok(())
    };
    match aborted.await {
        Err(Storage::Store(error)) if error.retry_class() == RetryClass::Permanent => {
            tracing::info!(%error, "uploads that were never recorded cannot be looked for");
            Ok(())
        }
        aborted => Ok(aborted?),
    }
}

fn is_refused(error: &Storage) -> bool {
    matches!(error, Storage::Store(store) if store.kind == StoreErrorKind::AccessDenied)
}

/// Removes what a job whose ledger was lost has left in the store, as far as it is of no use.
pub(super) async fn clear_lost(store: &dyn ObjectStore, lost: &BackupName) -> Result<()> {
    let key = lost.archive_key();
    for left in store.list_uploads(&key).await? {
        tracing::info!(key, "the upload of a job whose ledger was lost is aborted");
        store.abort_upload(&left.upload).await?;
    }
    if store.head(&key).await?.is_some() && store.head(&lost.manifest_key()).await?.is_none() {
        tracing::warn!(
            key,
            "this archive is whole, but the job's ledger was lost before its manifest was made; `restore --without-manifest` opens it"
        );
    }
    Ok(())
}

/// Whether a job can be resumed under this policy, store and key; else why not.
pub(super) fn obstacle(job: &Job, policy_digest: [u8; 32], store_url: &str) -> Option<&'static str> {
    if job.policy_digest != policy_digest {
        Some("the policy was changed since")
    } else if job.store != store_url {
        Some("backups go to another store now")
    } else {
        None
    }
}

/// Ends a job for good, and frees the space of what it had sent, in the store where it sent it: the policy's may be
/// another one by now. Gives what stays there, and why.
pub(super) async fn abandon(ledger: &Ledger, catalog: &Catalog, event: JobEvent) -> Result<Option<String>> {
    let job = ledger.job();
    Copies::new(job.copy_to.as_deref()).clear(&job.name.archive_key()).await;
    let leftover = free(&job, catalog).await.err();
    if let Some(leftover) = &leftover {
        tracing::warn!("{leftover}");
    }
    match job.state {
        JobState::ShippingLogs(_) | JobState::Ended(_) => {}
        _ => drop(ledger.advance(event)?),
    }
    Ok(leftover)
}

/// Aborts a job's uploads. Fails with what stays, where, and what to do about it.
async fn free(job: &Job, catalog: &Catalog) -> Result<(), String> {
    let key = job.name.archive_key();
    let stays = |why: &dyn Display| {
        let id = job.upload.as_ref().map_or(String::new(), |upload| format!(" (upload {})", upload.id));
        format!(
            "in {} parts of {key}{id} may be left, which take space and are billed: {why}. Abort that upload there, or let \
             a rule of the bucket do it",
            job.store
        )
    };
    let store = store_of(job, catalog).await.map_err(|error| stays(&error))?;
    let Some(upload) = &job.upload else {
        // One that a crash left unrecorded.
        return abort_strays(&*store, &key).await.map_err(|error| stays(&error));
    };
    // An abort of what a store does not know succeeds, in any store.
    if let Err(Storage::Store(error)) = store.list_parts(upload).await
        && error.kind == StoreErrorKind::UploadGone
    {
        return Err(completed(&*store, job).await.unwrap_or_else(|| {
            stays(&"the store does not know it any more; it was removed there, or this is another store under the same \
                    name (AWS_ENDPOINT_URL, a disk that is not mounted)")
        }));
    }
    // Whoever may abort need not be allowed to list.
    store.abort_upload(upload).await.map_err(|error| stays(&error))?;
    if let Err(error) = abort_strays(&*store, &key).await {
        tracing::warn!(%error, key, "cannot look for other uploads of this job");
    }
    Ok(())
}

/// What is there of a job whose upload is gone because it was completed.
async fn completed(store: &dyn ObjectStore, job: &Job) -> Option<String> {
    let (archive, manifest) = (job.name.archive_key(), job.name.manifest_key());
    let is_there = async |key: &str| matches!(store.head(key).await, Ok(Some(_)));
    if !is_there(&archive).await {
        None
    } else if is_there(&manifest).await {
        Some(format!("in {} its backup was complete already, and stays: {archive}", job.store))
    } else {
        Some(format!(
            "in {} its archive was complete already, and stays without a manifest: {archive}. `restore \
             --without-manifest` opens it; remove it if it is of no use",
            job.store
        ))
    }
}

/// The store that a job sends to, which need not be the policy's any more.
pub(super) async fn store_of(job: &Job, catalog: &Catalog) -> Result<SharedStore> {
    if job.store == catalog.url() {
        return Ok(catalog.store.clone());
    }
    Ok(StoreUrl::parse(&job.store)?.open().await?)
}
