//! A store that fails on purpose, for tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::error::Result;
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::object::Page;
use crate::objects::options::{Attributes, PutOptions, Retention};
use crate::objects::store::{ObjectStore, SharedStore};
use crate::objects::upload::{Part, PartReceipt, UnfinishedUpload, Upload};

/// The calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Put,
    GetRange,
    Head,
    List,
    Delete,
    Erase,
    Attributes,
    Retain,
    SetLegalHold,
    BeginUpload,
    PutPart,
    ListParts,
    CompleteUpload,
    ListUploads,
    AbortUpload,
}

/// What happens instead of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and does nothing.
    Fails(StoreErrorKind),
    /// It is carried out, and fails all the same: the answer was lost.
    AnswerLost(StoreErrorKind),
}

/// Wraps a store: fails the planned calls, counts all, and can hold parts back.
#[derive(Debug)]
pub struct Faulty {
    store: SharedStore,
    plan: Mutex<BTreeMap<(Operation, u32), Fault>>,
    calls: Mutex<BTreeMap<Operation, u32>>,
    gate: Semaphore,
    parts_in_flight: AtomicUsize,
    most_parts_in_flight: AtomicUsize,
}

impl Faulty {
    /// A store that works until a call is [planned to fail](Self::fail).
    pub fn new(store: SharedStore) -> Self {
        Self {
            store,
            plan: Mutex::default(),
            calls: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            parts_in_flight: AtomicUsize::new(0),
            most_parts_in_flight: AtomicUsize::new(0),
        }
    }

    /// Makes call number `nth` (from 1) of `operation` go wrong.
    pub fn fail(&self, operation: Operation, nth: u32, fault: Fault) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).insert((operation, nth), fault);
    }

    /// How often `operation` was called.
    pub fn calls(&self, operation: Operation) -> u32 {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).get(&operation).copied().unwrap_or(0)
    }

    /// Holds every part back from now on.
    pub fn stall_parts(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets held parts go.
    pub fn release_parts(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }

    /// The most parts that were in flight at once.
    pub fn most_parts_in_flight(&self) -> usize {
        self.most_parts_in_flight.load(Ordering::SeqCst)
    }

    async fn call<T>(
        &self,
        operation: Operation,
        key: &str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let nth = {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            let nth = calls.entry(operation).or_default();
            *nth += 1;
            *nth
        };
        let fault = self.plan.lock().unwrap_or_else(PoisonError::into_inner).get(&(operation, nth)).copied();
        let error = |kind| {
            let reason = format!("call {nth} of {operation:?} was made to fail");
            StoreError::new(kind, self.url(), "use", key, reason).into()
        };
        match fault {
            None => call.await,
            Some(Fault::Fails(kind)) => Err(error(kind)),
            Some(Fault::AnswerLost(kind)) => call.await.and(Err(error(kind))),
        }
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    crate::forward!(store: url folders capabilities now_ms prepare composite check_object_lock);

    async fn put_with(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<()> {
        self.call(Operation::Put, key, self.store.put_with(key, body, options)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.call(Operation::GetRange, key, self.store.get_range(key, range)).await
    }

    async fn head(&self, key: &str) -> Result<Option<u64>> {
        self.call(Operation::Head, key, self.store.head(key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        self.call(Operation::List, prefix, self.store.list(prefix, after)).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.call(Operation::Delete, key, self.store.delete(key)).await
    }

    async fn erase(&self, key: &str) -> Result<()> {
        self.call(Operation::Erase, key, self.store.erase(key)).await
    }

    async fn attributes(&self, key: &str) -> Result<Option<Attributes>> {
        self.call(Operation::Attributes, key, self.store.attributes(key)).await
    }

    async fn retain(&self, key: &str, retention: Retention) -> Result<()> {
        self.call(Operation::Retain, key, self.store.retain(key, retention)).await
    }

    async fn set_legal_hold(&self, key: &str, held: bool) -> Result<()> {
        self.call(Operation::SetLegalHold, key, self.store.set_legal_hold(key, held)).await
    }

    async fn begin_with(&self, key: &str, attributes: &Attributes) -> Result<Upload> {
        self.call(Operation::BeginUpload, key, self.store.begin_with(key, attributes)).await
    }

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        let now = self.parts_in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_parts_in_flight.fetch_max(now, Ordering::SeqCst);
        let answer = self
            .call(Operation::PutPart, &upload.key, async {
                let _permit = self.gate.acquire().await;
                self.store.put_part(upload, part).await
            })
            .await;
        self.parts_in_flight.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>> {
        self.call(Operation::ListParts, &upload.key, self.store.list_parts(upload)).await
    }

    async fn last_part_ms(&self, upload: &Upload) -> Result<Option<i64>> {
        self.call(Operation::ListParts, &upload.key, self.store.last_part_ms(upload)).await
    }

    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], if_absent: bool) -> Result<()> {
        let completed = self.store.complete_with(upload, parts, if_absent);
        self.call(Operation::CompleteUpload, &upload.key, completed).await
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UnfinishedUpload>> {
        self.call(Operation::ListUploads, prefix, self.store.list_uploads(prefix)).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        self.call(Operation::AbortUpload, &upload.key, self.store.abort_upload(upload)).await
    }
}
