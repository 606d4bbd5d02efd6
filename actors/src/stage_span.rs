//! A stage's span, and how long the stage worked.
//!
//! The actors of one stage share it, over threads. It is open from when the pipeline is wired until the stage has handled
//! its last message, or until its last actor is gone.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use intellistor_telemetry::metrics;
use tracing::Span;

thread_local! {
    /// How long this thread has waited for stages downstream.
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Counts the time that `wait` takes as waiting.
pub(crate) fn waiting<T>(wait: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = wait();
    WAITED.set(WAITED.get() + begun.elapsed());
    done
}

#[derive(Debug, Clone)]
pub(crate) struct StageSpan(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Current once the stage's own span has ended.
    around: Span,
    own: Mutex<Option<Span>>,
    busy_ns: AtomicU64,
}

impl StageSpan {
    /// For what runs in no stage.
    pub(crate) fn outside() -> Self {
        Self(Arc::new(Inner { around: Span::current(), own: Mutex::default(), busy_ns: AtomicU64::new(0) }))
    }

    pub(crate) fn within(&self, own: Span) -> Self {
        let around = self.0.around.clone();
        Self(Arc::new(Inner { around, own: Mutex::new(Some(own)), busy_ns: AtomicU64::new(0) }))
    }

    pub(crate) fn span(&self) -> Span {
        self.0.own().clone().unwrap_or_else(|| self.0.around.clone())
    }

    /// Runs a part of the stage's work, within its span.
    pub(crate) fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        let span = self.span();
        let _within = span.enter();
        let (begun, waited) = (Instant::now(), WAITED.get());
        let done = work();
        let busy = begun.elapsed().saturating_sub(WAITED.get() - waited);
        self.0.busy_ns.fetch_add(busy.as_nanos() as u64, Ordering::Relaxed);
        done
    }

    /// Ends the stage's own span; what its actors still log goes into the span around it.
    pub(crate) fn end(&self) {
        self.0.end();
    }
}

impl Inner {
    fn own(&self) -> MutexGuard<'_, Option<Span>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let Some(span) = self.own().take() else { return };
        let busy = Duration::from_nanos(self.busy_ns.load(Ordering::Relaxed));
        // A stage that waits for the network on an arbiter does no work of its own.
        if let (Some(metadata), false) = (span.metadata(), busy.is_zero()) {
            span.record("intellistor.stage.busy", busy.as_secs_f64());
            metrics::stage_ended(metadata.name(), busy);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
    }
}
