//! Uploads in parts, by beginning one; and those that were left unfinished.

use bytes::Bytes;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::objects::{Attributes, Part};
use intellistor_storage::{Error as StorageError, Hashed, StoreErrorKind};

use super::examination::Examination;
use super::finding::Finding;
use super::sizes::counted;

const NOT_OPEN: &str = "the store is not open";

pub(super) async fn check_upload(examination: &mut Examination) -> Finding {
    let Some(store) = examination.store() else { return Finding::skipped(NOT_OPEN) };
    let key = examination.probe_key();
    let upload = match store.begin_with(&key, &Attributes::default()).await {
        Ok(upload) => upload,
        Err(error) => return Finding::of_storage(error),
    };
    examination.probe.uploads.push(upload.clone());
    let part = Part { number: 1, offset: 0, body: Hashed::new(Bytes::from_static(b"intellistor doctor\n")) };
    match store.put_part(&upload, &part).await {
        Ok(_) => Finding::ok("an upload was begun, and a part of it stored"),
        Err(error) => Finding::of_storage(error),
    }
}

pub(super) async fn check_list_parts(examination: &mut Examination) -> Finding {
    let (Some(store), Some(upload)) = (examination.store(), examination.probe.uploads.first()) else {
        return Finding::skipped(NOT_OPEN);
    };
    match store.list_parts(upload).await {
        Ok(parts) if parts.len() == 1 => Finding::ok("the part is listed"),
        Ok(parts) => Finding::warning(format!("1 part was stored, and {} are listed", parts.len()))
            .advise("The store's listings lag behind: a resumed job sends parts again that are there"),
        Err(StorageError::Store(error)) if error.kind == StoreErrorKind::AccessDenied => {
            Finding::of_storage(error.into())
                .into_warning()
                .and("a job is resumed from its own records alone")
        }
        Err(error) => {
            Finding::of_storage(error).into_warning().and("a job is resumed from its own records alone")
        }
    }
}

pub(super) async fn check_list_uploads(examination: &mut Examination) -> Finding {
    let Some(store) = examination.store() else { return Finding::skipped(NOT_OPEN) };
    let prefix = BackupName::policy_prefix(examination.policy_id());
    match store.list_uploads(&prefix).await {
        Ok(found) => {
            let others = found.iter().filter(|one| !examination.probe.uploads.contains(&one.upload)).count();
            Finding::ok(match others {
                0 => "no unfinished upload".to_owned(),
                n => format!(
                    "{}, of a job that is to be resumed or was abandoned",
                    counted(n as u64, "unfinished upload")
                ),
            })
        }
        Err(StorageError::Store(error)) if error.kind == StoreErrorKind::AccessDenied => {
            Finding::of_storage(error.into())
                .into_warning()
                .and("uploads that were abandoned are not found, and are billed")
        }
        Err(error) => Finding::of_storage(error).into_warning(),
    }
}

pub(super) async fn check_abort(examination: &mut Examination) -> Finding {
    let (Some(store), Some(upload)) = (examination.store(), examination.probe.uploads.first().cloned())
    else {
        return Finding::skipped(NOT_OPEN);
    };
    match store.abort_upload(&upload).await {
        Ok(()) => {
            examination.probe.uploads.clear();
            Finding::ok("the upload is gone again")
        }
        Err(StorageError::Store(error)) if error.kind == StoreErrorKind::AccessDenied => {
            examination.probe.uploads.clear();
            Finding::of_storage(error.into())
                .into_warning()
                .and("the parts of a job that ends without a backup stay and are billed, as does the one of this examination")
        }
        Err(error) => Finding::of_storage(error).into_warning(),
    }
}
