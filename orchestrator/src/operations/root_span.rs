//! An operation as a collector sees it: the root of a trace, and its metrics.

use std::sync::Arc;
use std::time::Instant;

use intellistor_storage::objects::{Labelled, SharedStore};
use intellistor_telemetry::{metrics, trace};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use crate::error::{Error, Result};
use crate::operations::report::Sums;

/// Of an object's metadata: `x-amz-meta-trace-id`.
const TRACE_ID: &str = "trace-id";

/// A root span. Its name has to be known when the program is built.
macro_rules! root {
    ($name:expr, $policy_id:expr, $backup_id:expr) => {
        tracing::info_span!(
            parent: None,
            $name,
            intellistor.policy.id = $policy_id,
            intellistor.backup.id = $backup_id,
            error.type = tracing::field::Empty,
            otel.status_code = tracing::field::Empty,
        )
    };
}
pub(crate) use root;

/// Runs an operation within its root span, and counts it.
pub(crate) async fn traced<T>(
    name: &'static str,
    policy_id: &str,
    root: Span,
    work: impl Future<Output = Result<T>>,
) -> Result<T>
where
    for<'t> Sums: From<&'t T>,
{
    let begun = Instant::now();
    let work = async {
        if let Some(trace_id) = trace::current_id() {
            tracing::info!(trace_id, "traced");
        }
        work.await
    };
    let done = work.instrument(root.clone()).await;
    count(name, policy_id, begun, &root, done.as_ref().map(Sums::from));
    done
}

/// Counts an operation that has ended, and records a failure in its root span.
pub(crate) fn count(
    name: &str,
    policy_id: &str,
    begun: Instant,
    root: &Span,
    done: std::result::Result<Sums, &Error>,
) {
    let outcome = match &done {
        Ok(Sums { problems: 0, .. }) => "completed",
        Ok(_) => "completed_with_warnings",
        Err(Error::Interrupted) => "interrupted",
        Err(_) => "failed",
    };
    if let Err(error) = &done {
        root.record("otel.status_code", "ERROR");
        root.record("error.type", format_args!("{:?}", error.category()));
    }
    let Sums { bytes, files, problems } = done.unwrap_or_default();
    let took = begun.elapsed();
    metrics::operation_ended(&metrics::FinishedOperation {
        name,
        policy_id,
        outcome,
        took,
        bytes,
        files,
        problems,
    });
}

/// The store, so that what is written carries the current trace's id, where there is one and the store supports it.
pub(crate) fn labelled(store: SharedStore) -> SharedStore {
    match trace::current_id() {
        Some(trace_id) if store.capabilities().metadata => Arc::new(Labelled::new(store, TRACE_ID, trace_id)),
        _ => store,
    }
}

/// Reports `Interrupted` for an operation that was cancelled while it retried a failing store.
pub(crate) async fn stopped_by<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match work.await {
        Err(Error::Storage(intellistor_storage::Error::Store(_))) if cancel.is_cancelled() => {
            Err(Error::Interrupted)
        }
        done => done,
    }
}
