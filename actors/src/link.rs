//! The two lines that tie stages together: a bounded link downstream, and the bell that stops them all.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;

use actix::dev::{Message, Recipient, RecipientRequest};
use futures::executor::block_on;
use futures::stream::{FuturesOrdered, Stream};
use intellistor_storage::Error;
use tokio::sync::mpsc;
use tracing::Span;

use crate::stage::{Stage, waiting};

/// A stage downstream has stopped; the reason is in [`Failures`](crate::link::Failures).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a later stage has stopped")]
pub struct Stopped;

/// What a stage answers: the message was taken over, or the pipeline is coming down.
pub type Reply = Result<(), Stopped>;

/// Why a pipeline came down.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Occurs when a stage met an error that it cannot get past.
    #[error(transparent)]
    Error(#[from] Error),
    /// Occurs when a stage panicked: a defect of this program.
    #[error(
        "the {stage} stage panicked: {message}. This is a defect of the program; please report it with the log"
    )]
    Panic {
        /// The stage.
        stage: &'static str,
        /// The panic's message.
        message: String,
    },
}

/// Where every stage reports the error that stops the pipeline, and learns that it has stopped.
#[derive(Debug, Clone)]
pub struct Failures {
    reports: mpsc::UnboundedSender<Failure>,
    level: Arc<AtomicU8>,
    stage: Stage,
}

/// Levels of coming down: none, [`Failures::drain`], [`Failures::stop`].
const RUNNING: u8 = 0;
const DRAINING: u8 = 1;
const STOPPED: u8 = 2;

impl Failures {
    /// The bell, and the ear that hears it. The channel needs no bound: a stage that has reported is not run again.
    /// What the stages log is logged within the current span, or within that of their [stage](Self::within) below it.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Failure>) {
        let (reports, heard) = mpsc::unbounded_channel();
        (Self { reports, level: Arc::default(), stage: Stage::outside() }, heard)
    }

    /// The same bell for a stage with a span of its own, which it shares with its clones.
    #[must_use]
    pub fn within(&self, span: Span) -> Self {
        Self { stage: self.stage.within(span), ..self.clone() }
    }

    /// The stage's span ends, for it has done all.
    pub fn end_stage(&self) {
        self.stage.end();
    }

    /// Stops every stage at its next message.
    pub fn stop(&self) {
        self.level.fetch_max(STOPPED, Ordering::SeqCst);
    }

    /// Stops the stages that make new work, and lets the last ones end what is on its way.
    pub fn drain(&self) {
        self.level.fetch_max(DRAINING, Ordering::SeqCst);
    }

    /// Whether no new work may begin.
    pub fn is_stopped(&self) -> bool {
        self.level.load(Ordering::SeqCst) > RUNNING
    }

    /// The span in which the stage runs.
    pub fn span(&self) -> Span {
        self.stage.span()
    }

    /// Reports, stops the stages that make new work, and gives the reply for the stage upstream.
    pub fn report(&self, failure: impl Into<Failure>) -> Stopped {
        self.drain();
        // Nobody listens any more once the pipeline is down; then the report has no reader to miss it.
        let _ = self.reports.send(failure.into());
        Stopped
    }

    /// Runs a stage's handler, unless the pipeline has stopped; an error or a panic in it is reported.
    pub fn guard(&self, stage: &'static str, work: impl FnOnce() -> Result<Reply, Error>) -> Reply {
        if self.is_stopped() {
            return Err(Stopped);
        }
        self.guard_to_the_end(stage, work)
    }

    /// As [`guard`](Self::guard), for the stage that ends what is on its way: it runs while the pipeline drains.
    pub fn guard_to_the_end(
        &self,
        stage: &'static str,
        work: impl FnOnce() -> Result<Reply, Error>,
    ) -> Reply {
        if self.level.load(Ordering::SeqCst) == STOPPED {
            return Err(Stopped);
        }
        self.stage.work(|| {
            // No stage runs again after a report, so a state that a panic left half-made is never seen.
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
                Ok(Ok(reply)) => reply,
                Ok(Err(error)) => Err(self.report(error)),
                Err(panic) => {
                    Err(self.report(Failure::Panic { stage, message: panic_message(panic.as_ref()) }))
                }
            }
        })
    }
}

/// What a panic said.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// The sending end towards the next stage, for stages that run on a thread of their own:
/// at most `window` messages are unanswered, then [`send`](Self::send) blocks until the oldest is answered.
///
/// A link must not be dropped while messages are unanswered, unless the pipeline comes down: they would be lost.
///
/// The window is the bound, and not the mailbox's capacity: a `SyncArbiter` moves its mailbox into a queue
/// without one.
pub struct Link<M>
where
    M: Message<Result = Reply> + Send + 'static,
{
    next: Recipient<M>,
    unanswered: FuturesOrdered<RecipientRequest<M>>,
    window: usize,
}

impl<M> Link<M>
where
    M: Message<Result = Reply> + Send + Unpin + 'static,
{
    /// A link to `next` with room for `window` unanswered messages.
    pub fn new(next: Recipient<M>, window: usize) -> Self {
        Self { next, unanswered: FuturesOrdered::new(), window: window.max(1) }
    }

    /// Hands over a message; blocks the thread while the window is full.
    pub fn send(&mut self, message: M) -> Reply {
        self.unanswered.push_back(self.next.send(message));
        self.drain_to(self.window)
    }

    /// Blocks until every message is answered.
    pub fn flush(&mut self) -> Reply {
        self.drain_to(0)
    }

    fn drain_to(&mut self, most: usize) -> Reply {
        let drained = poll_fn(|cx| {
            loop {
                // Polling is also what puts a new message into the mailbox, so poll before looking at the count.
                match Pin::new(&mut self.unanswered).poll_next(cx) {
                    Poll::Ready(Some(Ok(Ok(())))) => {}
                    Poll::Ready(Some(Ok(Err(Stopped)) | Err(_))) => return Poll::Ready(Err(Stopped)),
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending if self.unanswered.len() <= most => return Poll::Ready(Ok(())),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        waiting(|| block_on(drained))
    }
}

impl<M> fmt::Debug for Link<M>
where
    M: Message<Result = Reply> + Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("unanswered", &self.unanswered.len())
            .field("window", &self.window)
            .finish()
    }
}
