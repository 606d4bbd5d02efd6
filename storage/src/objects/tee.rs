//! Keeps a copy of the parts while they go to the store.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::objects::store::{ObjectStore, SharedStore};
use crate::objects::upload::{Part, PartReceipt, Upload};

/// Parts go to both stores, all else to the first. Who asked for the copy completes it when the object exists: a copy
/// of what was never made is none.
///
/// An error of the copy is not one of the whole. The copy is given up, what it had is freed, and the error is
/// [remembered](Self::failure).
#[derive(Debug)]
pub struct Tee {
    primary: SharedStore,
    copy: SharedStore,
    upload: Upload,
    failure: Mutex<Option<Error>>,
}

impl Tee {
    /// Copies the parts that go to `primary` into `upload`, which was begun in `copy`.
    pub fn new(primary: SharedStore, copy: SharedStore, upload: Upload) -> Self {
        Self { primary, copy, upload, failure: Mutex::default() }
    }

    /// Why the copy was given up, if it was.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(ToString::to_string)
    }

    async fn copy_part(&self, part: &Part) {
        if self.failure().is_some() {
            return;
        }
        let Err(error) = self.copy.put_part(&self.upload, part).await else { return };
        let is_first = {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            let is_first = failure.is_none();
            failure.get_or_insert(error);
            is_first
        };
        if !is_first {
            return;
        }
        tracing::warn!(store = self.copy.url(), error = self.failure(), "the copy was abandoned");
        if let Err(error) = self.copy.abort_upload(&self.upload).await {
            tracing::warn!(%error, "what was copied so far could not be removed");
        }
    }
}

#[async_trait]
impl ObjectStore for Tee {
    crate::forward!(primary: url folders capabilities now_ms prepare put_with get_range head list delete begin_with);
    crate::forward!(primary: list_parts last_part_ms complete_with composite list_uploads abort_upload);
    crate::forward!(primary: erase attributes retain set_legal_hold check_object_lock);

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        let (sent, ()) = futures::join!(self.primary.put_part(upload, part), self.copy_part(part));
        sent
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::objects::conformance;
    use crate::objects::error::StoreErrorKind;
    use crate::objects::faulty::{Fault, Faulty, Operation};
    use crate::objects::hashed::Hashed;
    use crate::objects::memory::MemoryStore;
    use crate::objects::store::ObjectStoreExt as _;

    async fn teed(copy: SharedStore) -> (MemoryStore, Tee, Upload) {
        let primary = MemoryStore::default();
        let half = copy.begin_upload("k").await.unwrap();
        let tee = Tee::new(Arc::new(primary.clone()), copy, half);
        let upload = tee.begin_upload("k").await.unwrap();
        (primary, tee, upload)
    }

    fn part(number: u32) -> Part {
        let body = Hashed::new(Bytes::from(vec![number as u8; 100]));
        Part { number, offset: u64::from(number - 1) * 100, body }
    }

    #[tokio::test]
    async fn it_is_the_first_store_to_all_who_use_it() {
        let copy = Arc::new(MemoryStore::default());
        let (_, tee, _) = teed(copy).await;
        conformance::check(Arc::new(tee)).await;
    }

    #[tokio::test]
    async fn parts_go_to_both_and_the_copy_appears_when_it_is_completed() {
        let copy = MemoryStore::default();
        let (primary, tee, upload) = teed(Arc::new(copy.clone())).await;
        let receipts = [tee.put_part(&upload, &part(1)).await.unwrap()];
        tee.complete_upload(&upload, &receipts).await.unwrap();
        assert_eq!((primary.keys().len(), copy.keys().len(), tee.failure()), (1, 0, None));
        copy.complete_upload(&tee.upload, &copy.list_parts(&tee.upload).await.unwrap()).await.unwrap();
        assert_eq!(copy.get_range("k", 0..999).await.unwrap(), primary.get_range("k", 0..999).await.unwrap());
    }

    #[tokio::test]
    async fn a_copy_that_fails_is_given_up_and_costs_no_part() {
        let copy = MemoryStore::default();
        let faulty = Arc::new(Faulty::new(Arc::new(copy.clone())));
        faulty.fail(Operation::PutPart, 2, Fault::Fails(StoreErrorKind::Full));
        let (primary, tee, upload) = teed(faulty.clone()).await;
        let mut receipts = Vec::new();
        for number in 1..=4 {
            receipts.push(tee.put_part(&upload, &part(number)).await.unwrap());
        }
        tee.complete_upload(&upload, &receipts).await.unwrap();
        assert_eq!(primary.head("k").await.unwrap(), Some(400));
        assert!(tee.failure().unwrap().contains("call 2 of PutPart"), "{:?}", tee.failure());
        assert_eq!((copy.open_uploads(), copy.keys().len()), (0, 0), "nothing half made is left");
        assert_eq!(faulty.calls(Operation::PutPart), 2, "it is not tried again");
    }
}
