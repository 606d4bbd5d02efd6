//! Threads with actor systems, and the end of a pipeline.

use std::thread;

use actix::prelude::*;
use intellistor_actors::link::{Failure, Failures, Reply, panic_message};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::error::{Error, Result};

/// More compressors would hold more frames in memory than the bound of 128 MiB allows.
const MOST_COMPRESSORS: usize = 8;

/// Threads that may compute at once.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(2, usize::from).min(MOST_COMPRESSORS)
}

/// Runs a job on a thread with an actor system of its own; its stages and store connections end with it.
pub(crate) async fn on_system<T, F>(name: &str, job: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let (done, outcome) = oneshot::channel();
    let span = tracing::Span::current();
    let work = move || {
        let run = || System::new().block_on(job().instrument(span));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let message = panic_message(panic.as_ref());
            Err(Failure::Panic { stage: "store", message }.into())
        });
        // The caller has dropped the operation.
        let _ = done.send(outcome);
    };
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|e| Error::Defect(format!("cannot start a thread: {e}")))?;
    outcome
        .await
        .unwrap_or_else(|_| Err(Error::Defect("the pipeline's thread ended unexpectedly".to_owned())))
}

/// Waits for the end of a pipeline: its outcome, the first failure, or a cancellation. No new work begins after that;
/// the caller stops what is in flight.
pub(crate) async fn finish<T>(
    first: impl Future<Output = Result<Reply, MailboxError>>,
    outcome: &mut oneshot::Receiver<T>,
    failures: &Failures,
    mut failed: mpsc::UnboundedReceiver<Failure>,
    cancel: &CancellationToken,
) -> Result<T> {
    let vanished = || Error::Defect("a stage ended without an outcome".to_owned());
    let ended = async {
        // The last stage gives the outcome; the first one only answers that it has handed over everything.
        let (_, outcome) = futures::join!(first, outcome);
        outcome.map_err(|_| vanished())
    };
    let ended = tokio::select! {
        biased;
        Some(failure) = failed.recv() => Err(failure.into()),
        () = cancel.cancelled() => Err(Error::Interrupted),
        ended = ended => ended,
    };
    failures.drain();
    ended
}
