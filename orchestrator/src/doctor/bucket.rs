//! The bucket: it exists, it is in this region, and takes these credentials.

use intellistor_storage::{Error as StorageError, StoreErrorKind};

use super::examination::Examination;
use super::finding::Finding;

pub(super) async fn check(examination: &mut Examination) -> Finding {
    let Some(first) = &examination.first else { return Finding::skipped("the store was not asked") };
    match first {
        Ok(_) => {}
        // Known, and not permitted to list.
        Err(StorageError::Store(error)) if error.kind == StoreErrorKind::AccessDenied => {}
        Err(StorageError::Store(error)) => return Finding::of_storage(error.clone().into()),
        Err(error) => return Finding::failed(error.to_string()),
    }
    let Some(Ok(opened)) = &examination.opened else { return Finding::skipped("the store is not open") };
    let region = opened.s3.as_ref().and_then(|s3| s3.description().region);
    let region = region.map_or_else(String::new, |region| format!(" in {region}"));
    Finding::ok(format!("{} exists{region}, and accepts the credentials", opened.store.url()))
}
