//! Repeats what failed for a reason that may pass. The only retry mechanism: the SDK's own is off.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::error::{Error, Result};
use crate::objects::error::{RetryAdvice, RetryClass, StoreErrorKind};
use crate::objects::object::{Composite, Page};
use crate::objects::options::{Attributes, PutOptions, Retention};
use crate::objects::store::{ObjectStore, SharedStore};
use crate::objects::upload::{Part, PartReceipt, UnfinishedUpload, Upload};

/// How long one call may be repeated: a router that restarts, a store that is upgraded, a night's burst of requests.
const MAX_ELAPSED: Duration = Duration::from_secs(5 * 60);
/// Attempts where the next call succeeds or none does; and of a store that was never reached: its address may be wrong,
/// and a person waits.
const BRIEF_ATTEMPTS: u32 = 5;
/// The longest pause that a store may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);
/// Pauses double this often.
const DOUBLINGS: u32 = 7;
/// The attempt at which the console gets a second warning.
const SECOND_WARNING: u32 = 10;

/// How often a call is repeated, and how long the pauses are. The only retry policy: a job's attempts have it, too.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Calls in all, the first included.
    pub attempts: u32,
    /// The longest pause before the second call; it doubles seven times.
    pub first_delay: Duration,
    /// Pauses grow no longer than this.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    /// About four minutes, and never more than five: pauses of at most 0.2, 0.4, 0.8 and so on to 25.6 seconds.
    fn default() -> Self {
        Self { attempts: 20, first_delay: Duration::from_millis(200), max_delay: Duration::from_secs(30) }
    }
}

impl RetryPolicy {
    /// How long to wait after attempt number `attempt` (from 1) has failed: anything between half and all of the
    /// doubled delay, so that clients do not return in step.
    pub fn pause(&self, attempt: u32) -> Duration {
        let longest = self.first_delay.saturating_mul(1 << (attempt - 1).min(DOUBLINGS)).min(self.max_delay);
        let [random] = crate::keys::secret::random::<1>();
        longest.mul_f64(0.5 + f64::from(random) / 510.0)
    }
}

/// Repeats the calls of a store.
#[derive(Debug)]
pub struct Retry {
    store: SharedStore,
    policy: RetryPolicy,
    stop: CancellationToken,
    /// Whether the store has ever answered.
    reached: Arc<AtomicBool>,
}

impl Retry {
    /// Repeats the calls of `store`.
    pub fn new(store: SharedStore, policy: RetryPolicy) -> Self {
        Self { store, policy, stop: CancellationToken::new(), reached: Arc::default() }
    }

    /// Once `stop` is cancelled no call is repeated, and a pause ends. Calls are still made, for the clean-up.
    #[must_use]
    pub fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// How long to wait before the next attempt, if there is to be one.
    fn next_pause(&self, error: &Error, attempt: u32, failing_for: Duration) -> Option<Duration> {
        let Error::Store(error) = error else { return None };
        if error.retry_class() == RetryClass::Permanent || self.stop.is_cancelled() {
            return None;
        }
        let brief = error.retry == RetryAdvice::Brief
            || is_unanswered(error.kind) && !self.reached.load(Ordering::Relaxed);
        let attempts = if brief { self.policy.attempts.min(BRIEF_ATTEMPTS) } else { self.policy.attempts };
        let pause = self.policy.pause(attempt);
        let pause = match error.retry {
            RetryAdvice::After(asked) => pause.max(asked.min(MAX_RETRY_AFTER)),
            RetryAdvice::Patient | RetryAdvice::Brief => pause,
        };
        (attempt < attempts && failing_for + pause <= MAX_ELAPSED).then_some(pause)
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
        let (mut attempt, mut failing_since) = (1, None);
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
            if !matches!(&outcome, Err(Error::Store(error)) if is_unanswered(error.kind)) {
                self.reached.store(true, Ordering::Relaxed);
            }
            let error = match outcome {
                Err(error) => error,
                done => return done,
            };
            let failing_for = failing_since.get_or_insert_with(Instant::now).elapsed();
            let Some(pause) = self.next_pause(&error, attempt, failing_for) else {
                return Err(after(error, attempt));
            };
            // The console has two of them, a run's log has each.
            let pause_ms = pause.as_millis() as u64;
            if attempt == 1 || attempt == SECOND_WARNING {
                tracing::warn!(key, %error, attempt, pause_ms, "the store failed; trying again");
            } else {
                tracing::info!(key, %error, attempt, pause_ms, "the store failed; trying again");
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Err(after(error, attempt));
            }
            attempt += 1;
        }
    }
}

/// Whether the store gave no answer.
fn is_unanswered(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Unreachable | StoreErrorKind::Timeout)
}

fn after(error: Error, attempts: u32) -> Error {
    match error {
        Error::Store(mut error) if attempts > 1 => {
            error.reason += &format!(" (after {attempts} attempts)");
            error.into()
        }
        error => error,
    }
}

#[async_trait]
impl ObjectStore for Retry {
    crate::forward!(store: url folders capabilities now_ms prepare);

    async fn put_with(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<()> {
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

    async fn delete(&self, key: &str) -> Result<()> {
        self.repeat("delete", key, |_| self.store.delete(key)).await
    }

    async fn erase(&self, key: &str) -> Result<()> {
        self.repeat("erase", key, |_| self.store.erase(key)).await
    }

    async fn attributes(&self, key: &str) -> Result<Option<Attributes>> {
        self.repeat("attributes", key, |_| self.store.attributes(key)).await
    }

    async fn retain(&self, key: &str, retention: Retention) -> Result<()> {
        self.repeat("retain", key, |_| self.store.retain(key, retention)).await
    }

    async fn set_legal_hold(&self, key: &str, held: bool) -> Result<()> {
        self.repeat("set_legal_hold", key, |_| self.store.set_legal_hold(key, held)).await
    }

    async fn check_object_lock(&self) -> Result<()> {
        self.repeat("check_object_lock", "", |_| self.store.check_object_lock()).await
    }

    async fn begin_with(&self, key: &str, attributes: &Attributes) -> Result<Upload> {
        self.repeat("begin_upload", key, |_| self.store.begin_with(key, attributes)).await
    }

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        self.repeat("put_part", &upload.key, |_| self.store.put_part(upload, part)).await
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>> {
        self.repeat("list_parts", &upload.key, |_| self.store.list_parts(upload)).await
    }

    async fn last_part_ms(&self, upload: &Upload) -> Result<Option<i64>> {
        self.repeat("last_part_ms", &upload.key, |_| self.store.last_part_ms(upload)).await
    }

    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], if_absent: bool) -> Result<()> {
        self.repeat("complete_upload", &upload.key, |_| self.store.complete_with(upload, parts, if_absent))
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
}

// They move a clock that tests for Windows are built without: see Cargo.toml.
#[cfg(all(test, not(windows)))]
mod tests {
    use super::*;
    use crate::objects::conformance;
    use crate::objects::error::StoreError;
    use crate::objects::faulty::{Fault, Faulty, Operation};
    use crate::objects::memory::MemoryStore;
    use crate::objects::store::ObjectStoreExt as _;

    fn failing(operation: Operation, kind: StoreErrorKind, calls: u32) -> (Arc<Faulty>, Retry) {
        let faulty = Arc::new(Faulty::new(Arc::new(MemoryStore::default())));
        (1..=calls).for_each(|nth| faulty.fail(operation, nth, Fault::Fails(kind)));
        (faulty.clone(), Retry::new(faulty, RetryPolicy::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_answers_is_waited_for_minutes() {
        let (_, retry) = failing(Operation::GetRange, StoreErrorKind::Throttled, 12);
        retry.put("k", Bytes::from_static(b"x")).await.unwrap();
        let begun = Instant::now();
        assert_eq!(retry.get_range("k", 0..1).await.unwrap(), "x");
        assert!(begun.elapsed() > Duration::from_secs(60), "{:?}", begun.elapsed());

        let (faulty, retry) = failing(Operation::GetRange, StoreErrorKind::Unreachable, 1_000);
        retry.put("k", Bytes::new()).await.unwrap();
        let begun = Instant::now();
        let error = retry.get_range("k", 0..1).await.unwrap_err().to_string();
        let took = begun.elapsed();
        assert!(took > Duration::from_secs(120) && took <= MAX_ELAPSED, "{took:?}");
        assert!(error.contains("attempts"), "{error}");
        assert!(faulty.calls(Operation::GetRange) <= RetryPolicy::default().attempts);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_was_never_reached_is_given_up_soon() {
        let (faulty, retry) = failing(Operation::GetRange, StoreErrorKind::Unreachable, 1_000);
        let begun = Instant::now();
        retry.get_range("k", 0..1).await.unwrap_err();
        assert_eq!(faulty.calls(Operation::GetRange), BRIEF_ATTEMPTS);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_when_the_run_is_stopped() {
        let stop = CancellationToken::new();
        let (faulty, retry) = failing(Operation::GetRange, StoreErrorKind::Throttled, 1_000);
        let retry = retry.until(stop.clone());
        retry.put("k", Bytes::new()).await.unwrap();
        let cancel = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            stop.cancel();
        };
        let begun = Instant::now();
        let (stopped, ()) = tokio::join!(retry.get_range("k", 0..1), cancel);
        stopped.unwrap_err();
        assert_eq!(begun.elapsed(), Duration::from_secs(30));
        let calls = faulty.calls(Operation::GetRange);
        retry.get_range("k", 0..1).await.unwrap_err();
        assert_eq!(faulty.calls(Operation::GetRange), calls + 1, "cleaning up is tried once");
        assert_eq!(begun.elapsed(), Duration::from_secs(30));
    }

    #[test]
    fn what_a_store_asks_for_is_a_bounded_pause() {
        let (_, retry) = failing(Operation::GetRange, StoreErrorKind::Throttled, 0);
        let pause = |asked, failing_for| {
            let error = StoreError::new(StoreErrorKind::Throttled, "", "use", "", "");
            let error = StoreError { retry: RetryAdvice::After(Duration::from_secs(asked)), ..error };
            retry.next_pause(&error.into(), 1, Duration::from_secs(failing_for))
        };
        assert_eq!(pause(7, 0), Some(Duration::from_secs(7)));
        assert!(pause(0, 0).is_some_and(|pause| pause >= Duration::from_millis(100)));
        assert_eq!(pause(86_400, 0), Some(MAX_RETRY_AFTER));
        assert_eq!(pause(60, 250), None, "it would be too long");
    }

    #[tokio::test]
    async fn the_decorators_conform() {
        let faulty = Arc::new(Faulty::new(Arc::new(MemoryStore::default())));
        conformance::check(Arc::new(Retry::new(faulty, RetryPolicy::default()))).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_temporary_is_repeated_and_what_is_not_fails_at_once() {
        let (faulty, retry) = failing(Operation::Put, StoreErrorKind::Throttled, 4);
        retry.put("k", Bytes::new()).await.unwrap();
        assert_eq!(faulty.calls(Operation::Put), 5);

        let (faulty, retry) = failing(Operation::Put, StoreErrorKind::Unreachable, 9);
        let error = retry.put("k", Bytes::new()).await.unwrap_err().to_string();
        assert!(error.contains("after 5 attempts"), "{error}");
        assert_eq!(faulty.calls(Operation::Put), 5);

        let (faulty, retry) = failing(Operation::Put, StoreErrorKind::Credentials, 9);
        retry.put("k", Bytes::new()).await.unwrap_err();
        assert_eq!(faulty.calls(Operation::Put), 1);
    }
}
