//! What ties stages together: a bounded link to the next stage, and the failure report that stops them all.

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

use crate::stage_span::{StageSpan, waiting};

/// A stage downstream has stopped; the reason is in [`Failures`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a later stage has stopped")]
pub struct Stopped;

/// What a stage answers: it has taken the message over, or the pipeline is coming down.
pub type Reply = Result<(), Stopped>;

/// Why a pipeline came down.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Occurs when a stage met an error that it cannot recover from.
    #[error(transparent)]
    Error(#[from] Error),
    /// Occurs when a stage panicked: a defect of this program.
    #[error("the {stage} stage panicked: {message}. This is a bug; please report it with the log")]
    Panic { stage: &'static str, message: String },
}

/// Where every stage reports the error that stops the pipeline, and learns that it has stopped.
#[derive(Debug, Clone)]
pub struct Failures {
    reports: mpsc::UnboundedSender<Failure>,
    level: Arc<AtomicU8>,
    stage: StageSpan,
}

/// Levels of coming down: none, [`Failures::drain`], [`Failures::stop`].
const RUNNING: u8 = 0;
const DRAINING: u8 = 1;
const STOPPED: u8 = 2;

impl Failures {
    /// Both ends. The channel needs no bound: a stage that has reported is not run again.
    /// Stages log within the current span, or within their [own](Self::within) below it.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Failure>) {
        let (reports, received) = mpsc::unbounded_channel();
        (Self { reports, level: Arc::default(), stage: StageSpan::outside() }, received)
    }

    /// The same for a stage with a span of its own, which it shares with its clones.
    #[must_use]
    pub fn within(&self, span: Span) -> Self {
        Self { stage: self.stage.within(span), ..self.clone() }
    }

    /// Ends the stage's span: the stage has handled its last message.
    pub fn end_stage(&self) {
        self.stage.end();
    }

    /// Stops every stage at its next message.
    pub fn stop(&self) {
        self.level.fetch_max(STOPPED, Ordering::SeqCst);
    }

    /// Stops the stages that make new work, and lets the last ones finish what is in flight.
    pub fn drain(&self) {
        self.level.fetch_max(DRAINING, Ordering::SeqCst);
    }

    /// Whether no new work may begin: the pipeline drains, or has stopped.
    pub fn is_draining(&self) -> bool {
        self.level.load(Ordering::SeqCst) > RUNNING
    }

    /// Whether every stage is to stop.
    pub fn is_stopped(&self) -> bool {
        self.level.load(Ordering::SeqCst) == STOPPED
    }

    /// The span in which the stage runs.
    pub fn span(&self) -> Span {
        self.stage.span()
    }

    /// Reports, stops the stages that make new work, and gives the reply for the stage upstream.
    pub fn report(&self, failure: impl Into<Failure>) -> Stopped {
        self.drain();
        // Once the pipeline is down no one receives reports, and none is needed.
        let _ = self.reports.send(failure.into());
        Stopped
    }

    /// As [`report`](Self::report), of a panic in a stage.
    pub fn report_panic(&self, stage: &'static str, panic: &(dyn Any + Send)) -> Stopped {
        self.report(Failure::Panic { stage, message: panic_message(panic) })
    }

    /// Runs a part of the stage's work, within its span, and counts its time.
    pub(crate) fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        self.stage.work(work)
    }
}

/// The text of a panic.
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
