//! Runs a stage on threads of its own. What all such stages share is here, so that each stage's file has only its own logic.
//!
//! Ours because actix gives a `SyncArbiter`'s actor no report of a panic, and no order between a stage's last message and the
//! end of its span.

use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};

use actix::prelude::*;
use intellistor_storage::Error;

use crate::link::{Failures, Reply, Stopped};

/// Why a stage did not take a message over.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Occurs when the pipeline comes down; its cause is reported already.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Occurs when the stage met an error that it cannot get past; its thread reports it.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// The logic of a stage that blocks on the disk or the processor.
pub trait ThreadStage: Unpin + 'static {
    /// The message that it handles.
    type In: Message<Result = Reply> + Send + 'static;
    /// Names it in the report of a panic.
    const NAME: &'static str;
    /// Whether it still handles messages while the pipeline [drains](Failures::drain).
    const HANDLES_WHILE_DRAINING: bool = false;

    /// Takes a message over. After an error it is called only where it handles messages while the pipeline drains.
    ///
    /// # Errors
    /// [`StageError::Failed`] stops the pipeline.
    fn handle(&mut self, message: Self::In, failures: &Failures) -> Result<(), StageError>;

    /// Whether the last message has been handled: then the stage's span ends.
    fn is_done(&self) -> bool {
        false
    }

    /// Called when a message was not taken over, and no later one will be.
    fn stopped(&mut self) {}
}

/// Runs a [`ThreadStage`] on a `SyncArbiter`: refuses messages once the pipeline has stopped, reports errors and
/// panics, and works within the stage's span.
#[derive(Debug)]
pub struct Threaded<S> {
    stage: S,
    failures: Failures,
}

impl<S: ThreadStage> Threaded<S> {
    /// Starts a stage on one thread, on which `make` is called.
    pub fn start(failures: Failures, make: impl FnOnce() -> S + Send + 'static) -> Addr<Self> {
        let make = Mutex::new(Some(make));
        SyncArbiter::start(1, move || {
            let make = make.lock().unwrap_or_else(PoisonError::into_inner).take();
            Self { stage: make.expect("one thread makes one stage")(), failures: failures.clone() }
        })
    }

    /// Starts a stage on `threads`, each of which calls `make` and takes the next message that comes.
    pub fn start_many(
        threads: usize,
        failures: Failures,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) -> Addr<Self> {
        SyncArbiter::start(threads, move || Self { stage: make(), failures: failures.clone() })
    }
}

impl<S: ThreadStage> Actor for Threaded<S> {
    type Context = SyncContext<Self>;
}

impl<S: ThreadStage> Handler<S::In> for Threaded<S> {
    type Result = Reply;

    fn handle(&mut self, message: S::In, _: &mut Self::Context) -> Reply {
        let Self { stage, failures } = self;
        let stopped = if S::HANDLES_WHILE_DRAINING { failures.is_stopped() } else { failures.is_draining() };
        let reply = if stopped {
            Err(Stopped)
        } else {
            // No stage runs again after a report, so a state that a panic left half-made is never seen.
            let work = AssertUnwindSafe(|| stage.handle(message, failures));
            match failures.work(|| std::panic::catch_unwind(work)) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(StageError::Stopped(stopped))) => Err(stopped),
                Ok(Err(StageError::Failed(error))) => Err(failures.report(error)),
                Err(panic) => Err(failures.report_panic(S::NAME, panic.as_ref())),
            }
        };
        if reply.is_err() {
            stage.stopped();
        }
        if stage.is_done() {
            failures.end_stage();
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Failure;

    #[derive(Debug, Message)]
    #[rtype(result = "Reply")]
    enum Work {
        Succeed,
        Fail,
        Panic,
    }

    struct Worker;

    impl ThreadStage for Worker {
        type In = Work;
        const NAME: &'static str = "worker";

        fn handle(&mut self, work: Work, _: &Failures) -> Result<(), StageError> {
            match work {
                Work::Succeed => Ok(()),
                Work::Fail => Err(Error::integrity("it", "damaged on purpose").into()),
                Work::Panic => panic!("on purpose"),
            }
        }
    }

    #[test]
    fn an_error_and_a_panic_are_reported_once_and_later_messages_refused() {
        for (work, expected) in
            [(Work::Fail, "damaged on purpose"), (Work::Panic, "the worker stage panicked")]
        {
            System::new().block_on(async {
                let (failures, mut failed) = Failures::channel();
                let worker = Threaded::start(failures, || Worker);
                assert_eq!(worker.send(Work::Succeed).await.unwrap(), Ok(()));
                assert_eq!(worker.send(work).await.unwrap(), Err(Stopped));
                assert_eq!(worker.send(Work::Fail).await.unwrap(), Err(Stopped));
                let report: Failure = failed.recv().await.unwrap();
                assert!(report.to_string().contains(expected), "{report}");
                assert!(failed.try_recv().is_err());
            });
        }
    }
}
