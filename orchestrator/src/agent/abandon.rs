//! Ends a job for good, and removes what it had sent.
//!
//! **In:** a job that will not be resumed. **Out:** its uploads are aborted in the store where it sent to, which need not
//! be the policy's any more; what could not be removed is reported. **After a crash:** the job is abandoned again.

use std::fmt::Display;

use intellistor_storage::objects::{ObjectStore, SharedStore, StoreUrl};
use intellistor_storage::state::job::{JobEvent, JobState};
use intellistor_storage::state::{Job, Ledger};
use intellistor_storage::{Error as StorageError, StoreErrorKind};

use crate::agent::orphans::abort_unrecorded;
use crate::catalog::Catalog;
use crate::error::Result;
use crate::operations::copies::Copies;

/// Ends a job with `event`. Returns what stays in its store, and why.
pub(super) async fn abandon(ledger: &Ledger, catalog: &Catalog, event: JobEvent) -> Result<Option<String>> {
    let job = ledger.job();
    Copies::new(job.copy_to.as_deref()).clear(&job.name.archive_key()).await;
    let leftover = abort_uploads(&job, catalog).await.err();
    if let Some(leftover) = &leftover {
        tracing::warn!("{leftover}");
    }
    match job.state {
        JobState::ShippingLogs(_) | JobState::Ended(_) => {}
        _ => drop(ledger.advance(event)?),
    }
    Ok(leftover)
}

/// Fails with what stays, where, and what to do about it.
async fn abort_uploads(job: &Job, catalog: &Catalog) -> Result<(), String> {
    let key = job.name.archive_key();
    let leftover = |why: &dyn Display| {
        let id = job.upload.as_ref().map_or(String::new(), |upload| format!(" (upload {})", upload.id));
        format!(
            "parts of {key}{id} may be left in {}, where they take up space and are billed: {why}. Abort that upload \
             there, or let a lifecycle rule of the bucket do it",
            job.store
        )
    };
    let store = store_of(job, catalog).await.map_err(|error| leftover(&error))?;
    let Some(upload) = &job.upload else {
        // A crash may have left one unrecorded.
        return abort_unrecorded(&*store, &key).await.map_err(|error| leftover(&error));
    };
    // In any store, aborting an unknown upload succeeds.
    if let Err(StorageError::Store(error)) = store.list_parts(upload).await
        && error.kind == StoreErrorKind::UploadGone
    {
        return Err(completed(&*store, job).await.unwrap_or_else(|| {
            leftover(&"the store no longer knows it: it was removed there, or this is another store under the same \
            name (AWS_ENDPOINT_URL, a disk that is not mounted)")
        }));
    }
    // An account that may abort uploads need not be allowed to list them.
    store.abort_upload(upload).await.map_err(|error| leftover(&error))?;
    if let Err(error) = abort_unrecorded(&*store, &key).await {
        tracing::warn!(%error, key, "cannot look for other uploads of this job");
    }
    Ok(())
}

/// What a job has left whose upload is gone because it was completed.
async fn completed(store: &dyn ObjectStore, job: &Job) -> Option<String> {
    let (archive, manifest) = (job.name.archive_key(), job.name.manifest_key());
    let exists = async |key: &str| matches!(store.head(key).await, Ok(Some(_)));
    if !exists(&archive).await {
        None
    } else if exists(&manifest).await {
        Some(format!("its backup in {} was already complete, and stays: {archive}", job.store))
    } else {
        Some(format!(
            "its archive in {} was already complete, and stays without a manifest: {archive}. `restore \
             --without-manifest` restores from it; delete it if you do not need it",
            job.store
        ))
    }
}

/// The store that a job sends to.
pub(super) async fn store_of(job: &Job, catalog: &Catalog) -> Result<SharedStore> {
    if job.store == catalog.url() {
        return Ok(catalog.store.clone());
    }
    Ok(StoreUrl::parse(&job.store)?.open().await?)
}
