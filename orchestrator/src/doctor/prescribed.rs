//! What the policy asks of new objects: Object Lock, a storage class.
//!
//! Both are tried with an upload that is begun and aborted: no object comes to be, which could not be removed under a lock, and is
//! billed for months in some classes.

use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::objects::Attributes;
use intellistor_storage::{Error as StorageError, StoreErrorKind};

use super::examination::Examination;
use super::finding::Finding;
use crate::catalog::Catalog;
use crate::lifecycle::locking;

const NOT_OPEN: &str = "the store is not open";

pub(super) async fn check_lock(examination: &mut Examination) -> Finding {
    let (Some(store), Some(policy)) = (examination.store(), examination.policy.clone()) else {
        return Finding::skipped(NOT_OPEN);
    };
    let Some(lock) = policy.lock else { return Finding::skipped("the policy asks for none") };
    if let Err(error) = locking::check(&*store, &policy).await {
        return Finding::of(&error);
    }
    let retention = Some(locking::retention(&*store, lock));
    if let Err(finding) = begin(examination, Attributes { retention, ..Attributes::default() }).await {
        return finding;
    }
    let seen = format!("{:?}, {} days: an upload under lock was begun and aborted", lock.mode, lock.days);
    let Some(catalog) = examination.catalog() else { return Finding::skipped(NOT_OPEN) };
    match newest_retention(&catalog, &policy.policy_id).await {
        Ok(None) => Finding::ok(seen),
        Ok(Some(true)) => Finding::ok(format!("{seen}; the newest backup shows its lock")),
        Ok(Some(false)) => Finding::warning(format!("{seen}; the newest backup shows no lock"))
            .advise("If it was made before the policy had `lock`, the next one has it; otherwise grant s3:GetObjectRetention"),
        Err(finding) => finding,
    }
}

pub(super) async fn check_storage_class(examination: &mut Examination) -> Finding {
    let Some(policy) = examination.policy.clone() else { return Finding::skipped(NOT_OPEN) };
    let Some(store) = examination.store() else { return Finding::skipped(NOT_OPEN) };
    if let Err(error) = locking::check_capabilities(&*store, &policy) {
        return Finding::of(&error);
    }
    let Some(class) = policy.storage_class else { return Finding::skipped("the policy names none") };
    let storage_class = Some(class.clone());
    match begin(examination, Attributes { storage_class, ..Attributes::default() }).await {
        Ok(()) => Finding::ok(format!("{class}: an upload of this class was begun and aborted")),
        Err(finding) => finding,
    }
}

/// Begins an upload, and aborts it.
async fn begin(examination: &mut Examination, attributes: Attributes) -> Result<(), Finding> {
    let Some(store) = examination.store() else { return Err(Finding::skipped(NOT_OPEN)) };
    let key = examination.probe_key();
    let upload = store.begin_with(&key, &attributes).await.map_err(Finding::of_storage)?;
    examination.probe.uploads.push(upload.clone());
    // Another check says where this is not permitted.
    if store.abort_upload(&upload).await.is_ok() {
        examination.probe.uploads.retain(|open| *open != upload);
    }
    Ok(())
}

/// Whether the newest archive shows a retention; `None` where there is no archive, or none is listed.
async fn newest_retention(catalog: &Catalog, policy_id: &str) -> Result<Option<bool>, Finding> {
    let Ok(contents) = catalog.contents(policy_id).await else { return Ok(None) };
    let newest = catalog.in_order(&contents).into_iter().next();
    let Some(key) = newest.as_ref().map(BackupName::archive_key) else { return Ok(None) };
    match catalog.store.attributes(&key).await {
        Ok(found) => Ok(found.map(|found| found.retention.is_some())),
        Err(StorageError::Store(error)) if error.kind == StoreErrorKind::AccessDenied => {
            Err(Finding::of_storage(error.into())
                .into_warning()
                .and("whether backups are locked cannot be seen"))
        }
        Err(error) => Err(Finding::of_storage(error)),
    }
}
