//! Puts runs back in order, makes folders and links, and gives each file to a writer.
//!
//! - **In:** [`RunOpened`], in any order. **Out:** [`FilesPlaced`] to the writer that has least to do; at the end
//!   [`Extracted`], once.
//! - **Bound:** runs that wait for an earlier one, or for a writer, hold their share of the fetcher's memory, so there are
//!   never more than that has room for. At most [`MOST_UNDER_WAY`] files are with the writers, and
//!   fewer where a process may have few handles: each may hold that of a folder.
//! - **Blocks:** on the disk; it has a thread of its own.
//! - **Survives a crash:** every entry that has its name.
//!
//! **Order.** Files are written side by side, but what can be told from outside is as if one came after the other: an
//! entry waits for a file of the same path or of one above it, a hard link for the file that it names, and a folder's
//! attributes for what is on its way into it.

pub mod frames;
mod outcome;
pub mod placed;
pub mod ticket;
mod writers;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::prelude::*;
use intellistor_storage::Error;
use intellistor_storage::disk::shortage::share_of_handles;
use intellistor_storage::manifest::{Entry, EntryKind};
use tokio::sync::oneshot;

use crate::link::{Failures, Reply, Stopped};
use crate::progress::Progress;
use crate::restore::extractor::frames::Frames;
use crate::restore::extractor::placed::FilesPlaced;
use crate::restore::extractor::ticket::{Ended, Fate};
use crate::restore::opener::{FrameOpened, RunOpened};
use crate::target::{Target, TargetError};

pub use outcome::{Extracted, MOST_LISTED};
use writers::Writers;

/// The most files that have been given to writers and have not come out.
pub const MOST_UNDER_WAY: usize = 256;

/// What the extractor needs.
#[derive(Debug)]
pub struct ExtractorConfig {
    /// Where to write.
    pub target: Target,
    /// The writers, at least one.
    pub writers: Vec<Recipient<FilesPlaced>>,
    /// Gets the outcome.
    pub done: oneshot::Sender<Extracted>,
    /// Where to report.
    pub failures: Failures,
    /// Counts entries.
    pub progress: Arc<Progress>,
}

/// The stage that puts opened runs in order, makes folders and links, and gives files to the writers.
#[derive(Debug)]
pub struct Extractor {
    waiting: BTreeMap<u64, RunOpened>,
    next_seq: u64,
    /// The last frame so far: the next run may need it, too.
    kept: Option<Arc<FrameOpened>>,
    writers: Writers,
    most_under_way: usize,
    /// None when the outcome is out.
    target: Option<Target>,
    outcome: Extracted,
    done: Option<oneshot::Sender<Extracted>>,
    failures: Failures,
    progress: Arc<Progress>,
}

impl Extractor {
    /// An extractor at the beginning of a plan.
    pub fn new(config: ExtractorConfig) -> Self {
        Self {
            waiting: BTreeMap::new(),
            next_seq: 0,
            kept: None,
            writers: Writers::new(config.writers),
            most_under_way: share_of_handles(4, MOST_UNDER_WAY),
            target: Some(config.target),
            outcome: Extracted::default(),
            done: Some(config.done),
            failures: config.failures,
            progress: config.progress,
        }
    }

    fn take_over(&mut self, run: RunOpened) -> Reply {
        self.waiting.insert(run.seq, run);
        while let Some(run) = self.waiting.remove(&self.next_seq) {
            if self.failures.is_stopped() {
                return Err(Stopped);
            }
            self.place_all(run)?;
            // After an error no further run is the next one, whether or not the report is there yet.
            self.next_seq += 1;
        }
        Ok(())
    }

    fn place_all(&mut self, run: RunOpened) -> Reply {
        let RunOpened { frames, entries, goes_on, last, share, .. } = run;
        let goes_on = goes_on && !last;
        let frames = Frames::new(self.kept.take(), frames, share);
        self.kept = frames.last();
        self.writers.go_on(&frames, goes_on && entries.is_empty())?;
        let mut is_file = false;
        for entry in entries {
            self.outcome.found += 1;
            is_file = self.place(entry, &frames)?;
        }
        self.writers.hand_over(goes_on && is_file)?;
        drop(frames);
        while let Some(ended) = self.writers.ended() {
            self.note(ended)?;
        }
        if last { self.finish() } else { Ok(()) }
    }

    /// Makes an entry, or gives it to a writer, which the answer says.
    fn place(&mut self, entry: Entry, frames: &Frames) -> Result<bool, Stopped> {
        self.wait_until(|writers| !writers.have_on_the_way_to(entry.raw_path()))?;
        if let (EntryKind::Hardlink, Some(file)) = (entry.kind, entry.raw_link_target()) {
            self.wait_until(|writers| !writers.have(file))?;
        }
        let Some(target) = &mut self.target else { return Ok(false) };
        let made = match entry.kind {
            EntryKind::Directory => target.directory(&entry),
            EntryKind::Symlink => target.symlink(&entry),
            EntryKind::Hardlink => target.hardlink(&entry),
            EntryKind::File => match target.file(&entry) {
                Ok(place) => {
                    if self.writers.under_way() >= self.most_under_way {
                        // Not one by one, which would make batches of one.
                        let half = self.most_under_way / 2;
                        self.wait_until(|writers| writers.under_way() <= half)?;
                    }
                    self.writers.add(entry, place, frames)?;
                    return Ok(true);
                }
                Err(e) => Err(e),
            },
        };
        self.record(&entry.relative_path, 0, made)?;
        Ok(false)
    }

    /// Waits for files to come out. What was added is handed over first, or it never would.
    fn wait_until(&mut self, enough: impl Fn(&Writers) -> bool) -> Reply {
        while !enough(&self.writers) {
            self.writers.hand_over(false)?;
            match self.writers.wait() {
                Some(ended) => self.note(ended)?,
                None => return Err(Stopped),
            }
        }
        Ok(())
    }

    /// Files have come out.
    fn note(&mut self, all: Vec<Ended>) -> Reply {
        for Ended { fate, .. } in all {
            match fate {
                Fate::Restored { bytes, warnings } => self.record("", bytes, Ok(warnings))?,
                Fate::Failed { path, error } => self.record(&path, 0, Err(error))?,
                Fate::Damaged { path, reason } => {
                    self.outcome.damage(&path, &reason);
                    self.progress.entries.add(1);
                }
                Fate::Dropped => return Err(Stopped),
            }
        }
        if let Some(target) = &mut self.target {
            target.settle();
        }
        Ok(())
    }

    /// An entry is done; its path is for what went wrong.
    fn record(&mut self, path: &str, bytes: u64, made: Result<Vec<String>, TargetError>) -> Reply {
        self.progress.entries.add(1);
        match made {
            Ok(warnings) => {
                self.outcome.restored += 1;
                self.outcome.bytes = self.outcome.bytes.saturating_add(bytes);
                self.outcome.warn_all(warnings);
            }
            Err(TargetError::Fatal(source)) => {
                let out = self.target.as_ref().map(|target| target.out().to_owned()).unwrap_or_default();
                return Err(self.failures.report(Error::io("write to", out)(source)));
            }
            Err(e) => self.outcome.warn(format!("{path}: {e}")),
        }
        Ok(())
    }

    fn finish(&mut self) -> Reply {
        self.wait_until(|writers| writers.under_way() == 0)?;
        let (Some(target), Some(done)) = (self.target.take(), self.done.take()) else { return Ok(()) };
        let out = target.out().to_owned();
        let warnings = target.finish().map_err(|e| self.failures.report(Error::io("write to", out)(e)))?;
        self.outcome.warn_all(warnings);
        self.outcome.sort();
        // Nobody listens when the pipeline came down in this very moment.
        let _ = done.send(std::mem::take(&mut self.outcome));
        Ok(())
    }
}

impl Actor for Extractor {
    type Context = SyncContext<Self>;
}

impl Handler<RunOpened> for Extractor {
    type Result = Reply;

    fn handle(&mut self, run: RunOpened, _: &mut Self::Context) -> Reply {
        let failures = self.failures.clone();
        failures.guard("extractor", || Ok(self.take_over(run)))
    }
}

#[cfg(all(test, unix))]
mod tests;
