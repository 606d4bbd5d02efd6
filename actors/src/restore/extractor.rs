//! Puts ranges back in order, makes folders and links, and gives each file to a writer.
//!
//! - **In:** [`RangeOpened`], in any order. **Out:** [`FilesPlaced`] to the writer with the least load; at the end
//!   [`Extracted`], once.
//! - **Bound:** ranges that wait for an earlier one, or for a writer, hold their share of the restore's memory, as do the
//!   frames that are kept for later ranges, so there are never more than that has room for. At most [`MAX_IN_FLIGHT`] files are with the writers, and
//!   fewer where a process may have few handles: each may hold that of a folder.
//! - **Blocks:** on the disk; it has a thread of its own.
//! - **Survives a crash:** every entry that has its name.
//!
//! **Order.** Files are written in parallel, but the result is as if they were written one after the other: an
//! entry waits for a file of the same path or of one above it, a hard link for the file that it names, and a folder's
//! attributes for the files that are being written into it. A stream goes to the writer of its file, behind it.

pub mod completion;
pub mod extracted;
pub mod files_placed;
mod writers;

use std::sync::Arc;

use actix::prelude::*;
use intellistor_storage::Error;
use intellistor_storage::disk::shortage::share_of_handles;
use intellistor_storage::manifest::{Entry, EntryKind};
use tokio::sync::oneshot;

use crate::link::{Failures, Stopped};
use crate::progress::Progress;
use crate::restore::extractor::completion::{CompletedFile, FileOutcome};
use crate::restore::extractor::extracted::Extracted;
use crate::restore::extractor::files_placed::{FilesPlaced, MAX_IN_FLIGHT};
use crate::restore::extractor::writers::Writers;
use crate::restore::frame_view::FrameView;
use crate::restore::opener::RangeOpened;
use crate::restore::range_order::{OrderedRange, RangeOrder};
use crate::target::{ContentDestination, StreamPlace, Target, TargetError};
use crate::threaded::{StageError, ThreadStage};

/// What the extractor needs.
#[derive(Debug)]
pub struct ExtractorConfig {
    /// Where to write.
    pub target: Target,
    /// The writers, at least one.
    pub writers: Vec<Recipient<FilesPlaced>>,
    /// Gets the outcome.
    pub done: oneshot::Sender<Extracted>,
    /// Counts entries.
    pub progress: Arc<Progress>,
}

/// The stage that puts opened ranges in order, makes folders and links, and gives files to the writers.
#[derive(Debug)]
pub struct Extractor {
    ranges: RangeOrder,
    writers: Writers,
    max_in_flight: usize,
    /// None when the outcome is out.
    target: Option<Target>,
    outcome: Extracted,
    done: Option<oneshot::Sender<Extracted>>,
    progress: Arc<Progress>,
}

impl Extractor {
    /// An extractor at the beginning of a plan.
    pub fn new(config: ExtractorConfig) -> Self {
        Self {
            ranges: RangeOrder::default(),
            writers: Writers::new(config.writers),
            max_in_flight: share_of_handles(4, MAX_IN_FLIGHT),
            target: Some(config.target),
            outcome: Extracted::default(),
            done: Some(config.done),
            progress: config.progress,
        }
    }

    fn extract(&mut self, range: OrderedRange) -> Result<(), StageError> {
        let OrderedRange { frames, entries, continues_in_next, last } = range;
        self.writers.continue_file(&frames, continues_in_next && entries.is_empty())?;
        let mut is_file = false;
        for entry in entries {
            self.outcome.found += 1;
            is_file = self.place(entry, &frames)?;
        }
        self.writers.hand_over(continues_in_next && is_file)?;
        drop(frames);
        while let Some(completed) = self.writers.try_completed() {
            self.note(completed)?;
        }
        if last { self.finish() } else { Ok(()) }
    }

    /// Makes an entry, or gives it to a writer, which the answer says.
    fn place(&mut self, entry: Entry, frames: &FrameView) -> Result<bool, StageError> {
        match entry.kind {
            EntryKind::Stream => self.wait_until(|writers| !writers.have_before_stream(entry.raw_path()))?,
            _ => self.wait_until(|writers| !writers.have_on_path_to(entry.raw_path()))?,
        }
        if let (EntryKind::Hardlink, Some(file)) = (entry.kind, entry.raw_link_target()) {
            self.wait_until(|writers| !writers.have(file))?;
        }
        let Some(target) = &mut self.target else { return Ok(false) };
        let made = match entry.kind {
            EntryKind::Directory => target.directory(&entry),
            EntryKind::Symlink => target.symlink(&entry),
            EntryKind::Hardlink => target.hardlink(&entry),
            EntryKind::File => match target.keeps(&entry).and_then(|keeps| match keeps {
                true => Ok(None),
                false => target.file(&entry).map(Some),
            }) {
                Ok(None) => {
                    self.progress.bytes.add(entry.size);
                    Ok(Vec::new())
                }
                Ok(Some(destination)) => {
                    return self.write(entry, ContentDestination::File(destination), frames);
                }
                Err(e) => Err(e),
            },
            EntryKind::Stream => match target.stream(&entry) {
                Ok(StreamPlace::Write(destination)) => {
                    return self.write(entry, ContentDestination::Stream(destination), frames);
                }
                Ok(StreamPlace::Stays | StreamPlace::Unsupported) => {
                    self.progress.bytes.add(entry.size);
                    Ok(Vec::new())
                }
                Err(e) => Err(e),
            },
        };
        self.record(&entry.shown_path(), 0, made)?;
        Ok(false)
    }

    /// Gives a file or stream to a writer.
    fn write(
        &mut self,
        entry: Entry,
        destination: ContentDestination,
        frames: &FrameView,
    ) -> Result<bool, StageError> {
        if self.writers.in_flight() >= self.max_in_flight {
            // Not one by one, which would make batches of one.
            let half = self.max_in_flight / 2;
            self.wait_until(|writers| writers.in_flight() <= half)?;
        }
        self.writers.add(entry, destination, frames)?;
        Ok(true)
    }

    /// Waits for files to complete. What was added is handed over first, or it never would.
    fn wait_until(&mut self, enough: impl Fn(&Writers) -> bool) -> Result<(), StageError> {
        while !enough(&self.writers) {
            self.writers.hand_over(false)?;
            let completed = self.writers.wait_completed().ok_or(Stopped)?;
            self.note(completed)?;
        }
        Ok(())
    }

    fn note(&mut self, completed: Vec<CompletedFile>) -> Result<(), StageError> {
        for CompletedFile { outcome, .. } in completed {
            match outcome {
                FileOutcome::Restored { bytes, warnings } => self.record("", bytes, Ok(warnings))?,
                FileOutcome::Failed { path, error } => self.record(&path, 0, Err(error))?,
                FileOutcome::Damaged { path, reason } => {
                    self.outcome.damage(&path, &reason);
                    self.progress.entries.add(1);
                }
                FileOutcome::Dropped => return Err(Stopped.into()),
            }
        }
        if let Some(target) = &mut self.target {
            target.settle();
        }
        Ok(())
    }

    /// Records an entry as done; its path is for what went wrong.
    fn record(
        &mut self,
        path: &str,
        bytes: u64,
        made: Result<Vec<String>, TargetError>,
    ) -> Result<(), StageError> {
        self.progress.entries.add(1);
        match made {
            Ok(warnings) => {
                self.outcome.restored += 1;
                self.outcome.bytes = self.outcome.bytes.saturating_add(bytes);
                self.outcome.warn_all(warnings);
            }
            Err(TargetError::Fatal(source)) => {
                let out = self.target.as_ref().map(|target| target.out().to_owned()).unwrap_or_default();
                return Err(Error::io("write to", out)(source).into());
            }
            Err(e) => self.outcome.warn(format!("{path}: {e}")),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StageError> {
        self.wait_until(|writers| writers.in_flight() == 0)?;
        let (Some(mut target), Some(done)) = (self.target.take(), self.done.take()) else { return Ok(()) };
        let out = target.out().to_owned();
        self.outcome.note_occupied(target.take_occupied());
        self.outcome.warn_all(target.finish().map_err(Error::io("write to", out))?);
        // The receiver is gone when the pipeline came down in this very moment.
        let _ = done.send(std::mem::take(&mut self.outcome));
        Ok(())
    }
}

impl ThreadStage for Extractor {
    type In = RangeOpened;
    const NAME: &'static str = "extractor";

    fn handle(&mut self, range: RangeOpened, failures: &Failures) -> Result<(), StageError> {
        self.ranges.put(range);
        while let Some(range) = self.ranges.next() {
            if failures.is_draining() {
                return Err(Stopped.into());
            }
            self.extract(range)?;
        }
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests;
