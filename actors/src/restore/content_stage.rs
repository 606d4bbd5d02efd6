//! Reads the content of entries in the order of the plan, for those who want it and no files.
//!
//! - **In:** [`RangeOpened`], in any order. **Out:** entries and their content to a [`ContentSink`], in the order of the
//!   manifest; at the end its outcome, once.
//! - **Bound:** as for the [extractor](super::extractor): what waits here holds its share of the restore's memory.
//! - **Blocks:** on the processor, which hashes, and on what the sink does; it has a thread of its own.
//! - **Survives a crash:** nothing, and nothing needs to.

use std::sync::Arc;

use intellistor_storage::Error;
use intellistor_storage::manifest::Entry;
use tokio::sync::oneshot;

use crate::link::{Failures, Stopped};
use crate::progress::Progress;
use crate::restore::content::{ContentError, ContentReader, Step};
use crate::restore::frame_view::FrameView;
use crate::restore::opener::RangeOpened;
use crate::restore::range_order::{OrderedRange, RangeOrder};
use crate::threaded::{StageError, ThreadStage};

/// What takes entries and their content. An error ends the pipeline.
pub trait ContentSink: Send + Unpin + 'static {
    /// An entry begins; a file's content follows, then its [`end`](Self::end).
    ///
    /// # Errors
    /// The sink's own.
    fn begin(&mut self, entry: &Entry) -> Result<(), Error>;

    /// More data of a file, and its place there. Holes are left out.
    ///
    /// # Errors
    /// The sink's own.
    fn data(&mut self, at: u64, bytes: &[u8]) -> Result<(), Error>;

    /// The file's content is complete or, where `damage` says why, it is not what was backed up.
    ///
    /// # Errors
    /// The sink's own.
    fn end(&mut self, entry: &Entry, damage: Option<String>) -> Result<(), Error>;
}

/// The stage that reads the content of entries.
#[derive(Debug)]
pub struct ContentStage<S> {
    ranges: RangeOrder,
    unfinished: Option<ContentReader>,
    sink: Option<S>,
    done: Option<oneshot::Sender<S>>,
    progress: Arc<Progress>,
}

impl<S: ContentSink> ContentStage<S> {
    /// A stage at the beginning of a plan. `done` gets the sink back after the last entry; `progress` counts entries and bytes.
    pub fn new(sink: S, done: oneshot::Sender<S>, progress: Arc<Progress>) -> Self {
        let (ranges, unfinished) = (RangeOrder::default(), None);
        Self { ranges, unfinished, sink: Some(sink), done: Some(done), progress }
    }

    fn read(&mut self, range: OrderedRange, failures: &Failures) -> Result<(), StageError> {
        let OrderedRange { frames, entries, continues_in_next, last } = range;
        let mut left = entries.len();
        if let Some(file) = self.unfinished.take() {
            self.read_file(file, &frames, continues_in_next && left == 0, failures)?;
        }
        for entry in entries {
            left -= 1;
            let Some(sink) = &mut self.sink else { return Ok(()) };
            sink.begin(&entry)?;
            if entry.kind.has_content() {
                self.read_file(ContentReader::new(entry), &frames, continues_in_next && left == 0, failures)?;
            } else {
                self.progress.entries.add(1);
            }
        }
        if let Some((sink, done)) = self.sink.take_if(|_| last).zip(self.done.take_if(|_| last)) {
            // The receiver is gone when the pipeline came down in this very moment.
            let _ = done.send(sink);
        }
        Ok(())
    }

    fn read_file(
        &mut self,
        mut file: ContentReader,
        frames: &FrameView,
        continues_in_next: bool,
        failures: &Failures,
    ) -> Result<(), StageError> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let damage = match file.read(frames, &self.progress, failures, |at, bytes| sink.data(at, bytes)) {
            Ok(Step::NeedsMore) if continues_in_next => {
                self.unfinished = Some(file);
                return Ok(());
            }
            Ok(Step::NeedsMore) => Some("the plan has no frame for the rest of it".to_owned()),
            Ok(Step::Whole) => None,
            Err(ContentError::Damaged(reason)) => Some(reason),
            Err(ContentError::Sink(error)) => return Err(error.into()),
            Err(ContentError::Stopped) => return Err(Stopped.into()),
        };
        self.progress.entries.add(1);
        Ok(sink.end(file.entry(), damage)?)
    }
}

impl<S: ContentSink> ThreadStage for ContentStage<S> {
    type In = RangeOpened;
    const NAME: &'static str = "content";

    fn handle(&mut self, range: RangeOpened, failures: &Failures) -> Result<(), StageError> {
        self.ranges.put(range);
        while let Some(range) = self.ranges.next() {
            if failures.is_draining() {
                return Err(Stopped.into());
            }
            self.read(range, failures)?;
        }
        Ok(())
    }
}
