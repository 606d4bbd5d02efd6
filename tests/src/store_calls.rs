//! Calls of a store, and the kind of error that they end in.

use bytes::Bytes;
use chrono::Utc;
use intellistor_storage::objects::{
    ObjectStore, ObjectStoreExt as _, Operation, Part, PartReceipt, Retention, RetentionMode, Upload,
};
use intellistor_storage::{Error, Hashed, StoreErrorKind};

pub fn kind<T: std::fmt::Debug>(answer: Result<T, Error>) -> StoreErrorKind {
    match answer {
        Err(Error::Store(error)) => error.kind,
        other => panic!("expected a store's error, got {other:?}"),
    }
}

pub fn part(number: u32, bytes: usize) -> Part {
    let body = Hashed::new(Bytes::from(vec![number as u8; bytes]));
    Part { number, offset: 0, body }
}

pub const LEAST_PART: usize = 5 << 20;

/// Every call, with an upload that is open; the object `o` exists.
pub const CALLS: [Operation; 11] = [
    Operation::Put,
    Operation::GetRange,
    Operation::Head,
    Operation::List,
    Operation::Delete,
    Operation::BeginUpload,
    Operation::PutPart,
    Operation::ListParts,
    Operation::ListUploads,
    Operation::CompleteUpload,
    Operation::AbortUpload,
];

pub async fn call(store: &dyn ObjectStore, operation: Operation, upload: &Upload) -> Result<(), Error> {
    match operation {
        Operation::Put => store.put("o", Bytes::from_static(b"x")).await,
        Operation::GetRange => store.get_range("o", 0..1).await.map(drop),
        Operation::Head => store.head("o").await.map(drop),
        Operation::List => store.list("", None).await.map(drop),
        Operation::Delete => store.delete("d").await,
        Operation::Erase => store.erase("d").await,
        Operation::Attributes => store.attributes("o").await.map(drop),
        Operation::Retain => {
            let retention = Retention { mode: RetentionMode::Governance, until: Utc::now() };
            store.retain("o", retention).await
        }
        Operation::SetLegalHold => store.set_legal_hold("o", true).await,
        Operation::BeginUpload => store.begin_upload("k").await.map(drop),
        Operation::PutPart => store.put_part(upload, &part(1, 1)).await.map(drop),
        Operation::ListParts => store.list_parts(upload).await.map(drop),
        Operation::CompleteUpload => {
            let receipt = PartReceipt { number: 1, bytes: 1, sha256: None, etag: "\"0\"".to_owned() };
            store.complete_upload(upload, &[receipt]).await
        }
        Operation::ListUploads => store.list_uploads("").await.map(drop),
        Operation::AbortUpload => store.abort_upload(upload).await,
    }
}
