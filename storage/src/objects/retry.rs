//! Repeats what failed for a reason that may pass. The only retry mechanism: the SDK's own is off.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::{
    Composite, ObjectStore, Page, Part, PartReceipt, PutOptions, SharedStore, UnfinishedUpload, Upload,
};
use crate::{Error, Result, RetryClass};

/// How often and how patiently.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Calls in all, the first included.
    pub attempts: u32,
    /// The longest pause before the second call; it doubles with each further one.
    pub first_delay: Duration,
    /// Pauses grow no longer than this.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    /// Five calls, with pauses of at most 0.2, 0.4, 0.8 and 1.6 seconds between them.
    fn default() -> Self {
        Self { attempts: 5, first_delay: Duration::from_millis(200), max_delay: Duration::from_secs(10) }
    }
}

impl RetryPolicy {
    /// How long to wait after attempt number `attempt` (from 1) has failed: anything between half and all of the
    /// doubled delay, so that clients do not return in step.
    pub fn pause(&self, attempt: u32) -> Duration {
        let longest = self.first_delay.saturating_mul(1 << (attempt - 1).min(16)).min(self.max_delay);
        let [random] = crate::keys::random::<1>();
        longest.mul_f64(0.5 + f64::from(random) / 510.0)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Retry {
    store: SharedStore,
    policy: RetryPolicy,
}

impl Retry {
    /// Repeats the calls of `store`.
    pub fn new(store: SharedStore, policy: RetryPolicy) -> Self {
        Self { store, policy }
    }

    /// Each attempt is a span, from which repeated calls are also counted.
    async fn repeat<T, F>(
        &self,
        operation: &'static str,
        key: &str,
        mut call: impl FnMut(u32) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut attempt = 1;
        loop {
            let span = tracing::info_span!(
                "store_call",
                intellistor.store.operation = operation,
                intellistor.store.attempt = i64::from(attempt),
                otel.kind = "client",
                otel.status_code = Empty,
                error.type = Empty,
            );
            let outcome = call(attempt).instrument(span.clone()).await;
            if let Err(error) = &outcome {
                span.record("otel.status_code", "ERROR");
                match error {
                    Error::Store(error) => span.record("error.type", format_args!("{:?}", error.kind)),
                    _ => span.record("error.type", "_OTHER"),
                };
            }
            drop(span);
            match outcome {
                Err(error)
                    if error.retry_class() == RetryClass::Temporary && attempt < self.policy.attempts =>
                {
                    // A person is told once; a run's log has each.
                    if attempt == 1 {
                        tracing::warn!(key, %error, "the store failed; trying again");
                    } else {
                        tracing::info!(key, attempt, %error, "the store failed; trying again");
                    }
                    tokio::time::sleep(self.policy.pause(attempt)).await;
                    attempt += 1;
                }
                Err(Error::Store(mut error)) if attempt > 1 => {
                    error.reason += &format!(" (after {attempt} attempts)");
                    return Err(error.into());
                }
                outcome => return outcome,
            }
        }
    }
}

#[async_trait]
impl ObjectStore for Retry {
    fn url(&self) -> String {
        self.store.url()
    }

    async fn put_with(&self, key: &str, body: Bytes, options: PutOptions) -> Result<()> {
        self.repeat("put", key, |_| self.store.put_with(key, body.clone(), options)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.repeat("get_range", key, |_| self.store.get_range(key, range.clone())).await
    }

    async fn head(&self, key: &str) -> Result<Option<u64>> {
        self.repeat("head", key, |_| self.store.head(key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        self.repeat("list", prefix, |_| self.store.list(prefix, after)).await
    }

    async fn begin_upload(&self, key: &str) -> Result<Upload> {
        self.repeat("begin_upload", key, |_| self.store.begin_upload(key)).await
    }

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        self.repeat("put_part", &upload.key, |_| self.store.put_part(upload, part)).await
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>> {
        self.repeat("list_parts", &upload.key, |_| self.store.list_parts(upload)).await
    }

    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], options: PutOptions) -> Result<()> {
        self.repeat("complete_upload", &upload.key, |_| self.store.complete_with(upload, parts, options))
            .await
    }

    async fn composite(&self, key: &str) -> Result<Option<Composite>> {
        self.repeat("head", key, |_| self.store.composite(key)).await
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UnfinishedUpload>> {
        self.repeat("list_uploads", prefix, |_| self.store.list_uploads(prefix)).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        self.repeat("abort_upload", &upload.key, |_| self.store.abort_upload(upload)).await
    }

    fn labelled(&self, trace_id: &str) -> Option<SharedStore> {
        let store = self.store.labelled(trace_id)?;
        Some(Arc::new(Self { store, policy: self.policy }))
    }
}
