//! Compares the walk with the base, and decides what is read.
//!
//! - **In:** [`FilesScanned`], in order. **Out:** [`FilesCompared`], in order: runs of entries that are taken over as they
//!   are, and what is read, with the reason.
//! - **Bound:** as the scanner: [`WINDOW`] batches are ahead of the next stage. Of the base one entry is in memory.
//! - **Blocks:** on the next stage, and on the disk when the base's manifest is large; it has a thread of its own.
//! - **Survives a crash:** nothing by itself. A job records what it decided.

mod base_cursor;
mod comparison;
mod decide;
mod detect;
mod reason;
mod step;
mod walk_order;

use std::fmt;
use std::sync::{Arc, OnceLock};

use actix::prelude::*;
use intellistor_storage::manifest::{Base, BaseEntries, Entry};
use intellistor_storage::state::Compared;

use crate::backup::changes::comparison::Comparison;
use crate::backup::changes::decide::Rules;
use crate::backup::changes::walk_order::WalkOrder;
use crate::backup::scanner::{FilesScanned, WINDOW};
use crate::link::{Failures, Link, Reply};
use crate::source::{ListKeepers, LiveFiles, Root, Walked};
use crate::threaded::{StageError, ThreadStage};

pub use detect::DetectChanges;
pub use reason::Reason;
pub use step::Step;
pub use walk_order::compare_below_root;

/// A batch ends with the step that brings its entries of the base to this size: those of large files have long lists of
/// extents.
const BATCH_BYTES: u64 = 1 << 20;

/// A batch of steps, in the order of the walk.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct FilesCompared {
    /// Index of the first of them.
    pub first: u64,
    pub steps: Vec<Step>,
    /// Whether this batch is the last.
    pub last: bool,
}

/// With what a walk is compared, and how.
#[derive(Debug, Clone, Default)]
pub struct ChangesConfig {
    /// Its entries are in the order of the walk: it has the same roots, in the same order.
    pub base: Option<Arc<Base>>,
    pub detect: DetectChanges,
    /// The roots of the walk.
    pub roots: Vec<Root>,
    /// How they compare is there when the walk has ended, unless there is no base.
    pub compared: Arc<OnceLock<Compared>>,
}

/// The stage that compares the walk with the base.
pub struct Changes {
    config: ChangesConfig,
    /// Begins with the first batch, since that reads from the disk.
    comparison: Option<Comparison<BaseEntries>>,
    next: Link<FilesCompared>,
    /// What is to be sent.
    batch: Batch,
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Steps that were not sent yet.
#[derive(Debug, Default)]
struct Batch {
    first: u64,
    steps: Vec<Step>,
    /// What their entries of the base take.
    bytes: u64,
}

impl Batch {
    fn add(&mut self, step: Step) {
        self.bytes += match &step {
            Step::Known { entry, .. } | Step::Read { before: Some(entry), .. } => entry.memory_bytes(),
            _ => 0,
        };
        self.steps.push(step);
    }

    fn send(&mut self, next: &mut Link<FilesCompared>, last: bool) -> Reply {
        let steps = std::mem::take(&mut self.steps);
        let first = self.first;
        self.first += steps.len() as u64;
        self.bytes = 0;
        next.send(FilesCompared { first, steps, last })
    }
}

impl Changes {
    pub fn new(config: ChangesConfig, next: Recipient<FilesCompared>) -> Self {
        Self { config, comparison: None, next: Link::new(next, WINDOW), batch: Batch::default() }
    }

    /// Compares one step. Without a base everything is read.
    fn compare(&mut self, walked: Walked) -> Result<(), StageError> {
        match &mut self.comparison {
            Some(comparison) => comparison.step(walked, |step| self.batch.add(step))?,
            None => self.batch.add(Step::without_base(walked)),
        }
        if self.batch.bytes >= BATCH_BYTES { Ok(self.batch.send(&mut self.next, false)?) } else { Ok(()) }
    }
}

/// Begins to compare with a base.
fn begin(base: &Arc<Base>, config: &ChangesConfig) -> intellistor_storage::Result<Comparison<BaseEntries>> {
    let changed_while_read = base.changed_while_read()?;
    let renumbering = base.clone();
    let take_over = move |entry: &mut Entry| {
        let usable = renumbering.renumber(entry);
        if changed_while_read.contains(&entry.relative_path) {
            Err(Reason::ReadWhileChanging)
        } else if usable {
            Ok(())
        } else {
            Err(Reason::Repack)
        }
    };
    let mut list_keepers = ListKeepers::default();
    let live = LiveFiles::of(&config.roots);
    let totals = base.manifest().head().totals;
    let comparison = Comparison::new(
        base.entries(0),
        WalkOrder::of(&config.roots),
        Box::new(take_over),
        Rules::new(config.detect, base.began_ms()),
        Box::new(move |scanned| list_keepers.has_list(&scanned.source, &scanned.metadata)),
        totals.files + totals.symlinks,
    )?;
    Ok(comparison.asking(Box::new(move |scanned| live.may_be_written(&scanned.source, &scanned.metadata))))
}

impl ThreadStage for Changes {
    type In = FilesScanned;
    const NAME: &'static str = "changes";

    fn handle(&mut self, scanned: FilesScanned, _: &Failures) -> Result<(), StageError> {
        if let Some(base) = self.config.base.take() {
            self.comparison = Some(begin(&base, &self.config)?);
        }
        let FilesScanned { walked, last, .. } = scanned;
        for walked in walked {
            self.compare(walked)?;
        }
        if !last {
            // All of it may be unchanged, and belong to a run that has not ended.
            let sent =
                if self.batch.steps.is_empty() { Ok(()) } else { self.batch.send(&mut self.next, false) };
            return Ok(sent?);
        }
        if let Some(mut comparison) = self.comparison.take() {
            let compared = comparison.finish(|step| self.batch.add(step))?;
            let _ = self.config.compared.set(compared);
        }
        self.batch.send(&mut self.next, true)?;
        Ok(self.next.flush()?)
    }
}

#[cfg(test)]
mod tests;
