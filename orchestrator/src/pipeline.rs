//! The stages of both directions, wired downstream first, on a thread of their own.
//!
//! The pipeline is the unit of restart: the first stage that fails stops all, and its report is the error.
//!
//! Every address is held until the last stage has given its outcome, and with them every stage's link: actix
//! (0.13.5, `sync.rs`) passes over a queued message whose sender no longer waits for the answer.

mod backup;
mod restore;

use std::sync::{Mutex, PoisonError};
use std::thread;

use actix::prelude::*;
use intellistor_actors::link::{Failure, Failures, Reply, panic_message};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub(crate) use backup::{BackupPipeline, WalkSource, scan};
pub(crate) use restore::RestorePipeline;

use crate::error::{Error, Result};

/// More compressors would need more frames in memory than the promise of 128 MiB has room for.
const MOST_COMPRESSORS: usize = 8;

/// How many threads may compute at once.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(2, usize::from).min(MOST_COMPRESSORS)
}

/// Runs a job on a thread with an actor system of its own; stages and store connections live and die with it.
pub(crate) async fn on_system<T, F>(name: &str, job: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let (done, outcome) = oneshot::channel();
    let span = tracing::Span::current();
    let work = move || {
        let run = || System::new().block_on(job().instrument(span));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let message = panic_message(panic.as_ref());
            Err(Failure::Panic { stage: "store", message }.into())
        });
        // The caller has dropped the operation.
        let _ = done.send(ended);
    };
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|e| Error::Defect(format!("cannot start a thread: {e}")))?;
    outcome.await.unwrap_or_else(|_| Err(Error::Defect("the pipeline's thread vanished".to_owned())))
}

/// A stage that blocks gets a thread.
fn on_thread<A>(make: impl FnOnce() -> A + Send + 'static) -> Addr<A>
where
    A: Actor<Context = SyncContext<A>>,
{
    let make = Mutex::new(Some(make));
    SyncArbiter::start(1, move || {
        let make = make.lock().unwrap_or_else(PoisonError::into_inner).take();
        make.expect("one thread makes one actor")()
    })
}

/// Waits for the end of a pipeline: its outcome, the first failure, or a cancellation. Then no new work begins; to
/// stop what is on its way is the caller's.
pub(crate) async fn finish<T>(
    first: impl Future<Output = Result<Reply, MailboxError>>,
    outcome: &mut oneshot::Receiver<T>,
    failures: &Failures,
    mut failed: mpsc::UnboundedReceiver<Failure>,
    cancel: &CancellationToken,
) -> Result<T> {
    let vanished = || Error::Defect("a stage ended without a word".to_owned());
    let ended = async {
        // The outcome comes from the last stage; until then the first one only says that it has handed over all.
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
