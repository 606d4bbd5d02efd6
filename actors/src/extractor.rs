//! Puts runs back in order and writes their entries.
//!
//! - **In:** [`RunOpened`], in any order. **Out:** files, and at the end [`Extracted`], once.
//! - **Bound:** runs that wait for an earlier one hold their share of the fetcher's memory, so there are never
//!   more than that has room for; besides them one frame is kept, since the next run may need it, too.
//! - **Blocks:** on the disk; it has a thread of its own.
//! - **Survives a crash:** every entry that has its name. A file has it only when it is whole.
//!
//! **Integrity law (must).** A file takes its name after the SHA-256 of its whole content, holes as zeros, is the
//! one that the manifest states. A damaged frame costs the entries in it and no other; each is told by name.

mod content;
mod outcome;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::prelude::*;
use intellistor_storage::Error;
use intellistor_storage::manifest::{Entry, EntryKind};
use tokio::sync::oneshot;

use crate::link::Failures;
use crate::messages::{FrameOpened, Reply, RunOpened, Stopped};
use crate::progress::Progress;
use crate::target::{Target, TargetError};

use content::{Content, Frames, Step, Trouble};
pub use outcome::{Extracted, MOST_LISTED};

/// What the extractor needs.
#[derive(Debug)]
pub struct ExtractorConfig {
    /// Where to write.
    pub target: Target,
    /// Gets the outcome.
    pub done: oneshot::Sender<Extracted>,
    /// Where to report.
    pub failures: Failures,
    /// Counts entries and bytes written.
    pub progress: Arc<Progress>,
}

/// See the module.
#[derive(Debug)]
pub struct Extractor {
    waiting: BTreeMap<u64, RunOpened>,
    next_seq: u64,
    kept: Option<FrameOpened>,
    unfinished: Option<Content>,
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
            unfinished: None,
            target: Some(config.target),
            outcome: Extracted::default(),
            done: Some(config.done),
            failures: config.failures,
            progress: config.progress,
        }
    }

    fn take_over(&mut self, run: RunOpened) -> Result<Reply, Error> {
        self.waiting.insert(run.seq, run);
        while let Some(run) = self.waiting.remove(&self.next_seq) {
            if self.failures.is_stopped() {
                return Ok(Err(Stopped));
            }
            self.next_seq += 1;
            self.write(run)?;
        }
        Ok(Ok(()))
    }

    fn write(&mut self, run: RunOpened) -> Result<(), Error> {
        let RunOpened { mut frames, entries, last, share, .. } = run;
        let available = Frames { kept: self.kept.take(), run: &frames };
        if let Some(content) = self.unfinished.take() {
            self.go_on(content, &available)?;
        }
        for entry in entries {
            self.outcome.found += 1;
            // An entry that waits for more is the last one of its run.
            self.give_up("the plan has no frame for the rest of it");
            self.begin(entry, &available)?;
        }
        let kept = available.kept;
        self.kept = frames.pop().or(kept);
        drop((frames, share));
        if last {
            self.give_up("the plan has no frame for the rest of it");
            self.finish()?;
        }
        Ok(())
    }

    fn begin(&mut self, entry: Entry, available: &Frames<'_>) -> Result<(), Error> {
        let Some(target) = &mut self.target else { return Ok(()) };
        let made = match entry.kind {
            EntryKind::Directory => target.directory(&entry),
            EntryKind::Symlink => target.symlink(&entry),
            EntryKind::Hardlink => target.hardlink(&entry),
            EntryKind::File => match target.file(&entry) {
                Ok(writer) => return self.go_on(Content::new(entry, writer), available),
                Err(e) => Err(e),
            },
        };
        self.record(&entry.relative_path, 0, made)
    }

    /// Writes what the frames at hand hold of a file, and finishes it with the last of it.
    fn go_on(&mut self, mut content: Content, available: &Frames<'_>) -> Result<(), Error> {
        match content.write(available, &self.progress, &self.failures) {
            Ok(Step::Waits) => {
                self.unfinished = Some(content);
                Ok(())
            }
            Ok(Step::Whole) => {
                let (path, bytes) = (content.path().to_owned(), content.bytes());
                let named = content.finish();
                self.record(&path, bytes, named)
            }
            Err(Trouble::Damaged(reason)) => {
                self.outcome.damage(content.path(), &reason);
                self.progress.entries.add(1);
                Ok(())
            }
            // What was written of it goes with its temporary name.
            Err(Trouble::Stopped) => Ok(()),
            Err(Trouble::Disk(e)) => {
                let path = content.path().to_owned();
                drop(content);
                self.record(&path, 0, Err(e))
            }
        }
    }

    fn record(
        &mut self,
        path: &str,
        bytes: u64,
        made: Result<Vec<String>, TargetError>,
    ) -> Result<(), Error> {
        self.progress.entries.add(1);
        match made {
            Ok(warnings) => {
                self.outcome.restored += 1;
                self.outcome.bytes += bytes;
                self.outcome.warn_all(warnings);
            }
            Err(TargetError::Fatal(source)) => return Err(self.disk_error(source)),
            Err(e) => self.outcome.warn(format!("{path}: {e}")),
        }
        Ok(())
    }

    /// Records a file whose content did not come.
    fn give_up(&mut self, reason: &str) {
        if let Some(content) = self.unfinished.take() {
            self.outcome.damage(content.path(), reason);
            self.progress.entries.add(1);
        }
    }

    fn finish(&mut self) -> Result<(), Error> {
        let (Some(target), Some(done)) = (self.target.take(), self.done.take()) else { return Ok(()) };
        let out = target.out().to_owned();
        let warnings = target.finish().map_err(Error::io("write to", out))?;
        self.outcome.warn_all(warnings);
        // Nobody listens when the pipeline came down in this very moment.
        let _ = done.send(std::mem::take(&mut self.outcome));
        Ok(())
    }

    fn disk_error(&self, source: std::io::Error) -> Error {
        let out = self.target.as_ref().map(|target| target.out().to_owned()).unwrap_or_default();
        Error::io("write to", out)(source)
    }
}

impl Actor for Extractor {
    type Context = SyncContext<Self>;
}

impl Handler<RunOpened> for Extractor {
    type Result = Reply;

    fn handle(&mut self, run: RunOpened, _: &mut Self::Context) -> Reply {
        let failures = self.failures.clone();
        failures.guard("extractor", || self.take_over(run))
    }
}

#[cfg(all(test, unix))]
mod tests;
