//! Reads the manifest and plans which frames to fetch, for which entries.
//!
//! - **In:** [`Plan`], once. **Out:** [`RangePlanned`], in the order of the manifest.
//! - **Bound:** one range is being built, one is sent to the fetcher, and one waits there for its share of
//!   memory. A range has at most [`RANGE_ENTRIES`](ranges::RANGE_ENTRIES) entries of
//!   [`RANGE_ENTRIES_BYTES`](ranges::RANGE_ENTRIES_BYTES). Where only some entries are restored, 8 bytes are kept
//!   for each of their files, since a later hard link may name it.
//! - **Blocks:** on the disk where the manifest is spooled, and on the fetcher; it has a thread of its own.
//! - **Survives a crash:** nothing. A restore that was stopped starts over.

pub mod ranges;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::Arc;

use actix::prelude::*;
use intellistor_storage::archive::ArchiveSet;
use intellistor_storage::manifest::{Entry, EntryKind, VerifiedManifest};

use crate::globs::PathGlobs;
use crate::link::{Failures, Link, Reply};
use crate::progress::Progress;
use crate::restore::planner::ranges::{RangeBuilder, RangePlanned};
use crate::threaded::{StageError, ThreadStage};

/// Command to the planner: read the manifest and plan what to fetch.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct Plan;

/// What the planner needs.
#[derive(Debug)]
pub struct PlannerConfig {
    /// What the backup holds.
    pub manifest: Arc<VerifiedManifest>,
    /// The archives that hold it.
    pub archives: Arc<ArchiveSet>,
    /// Which entries to restore; all of them without it.
    pub only: Option<PathGlobs>,
    /// Which of these to leave out; none of them without it.
    pub filter: Option<Box<dyn EntryFilter>>,
    pub next: Recipient<RangePlanned>,
    /// Gets the totals.
    pub progress: Arc<Progress>,
}

/// Chooses entries by more than their path.
pub trait EntryFilter: std::fmt::Debug + Send {
    /// Whether an entry is planned. It gets all of them, in the order of the manifest.
    fn wants(&mut self, entry: &Entry) -> bool;
}

/// The stage that groups the entries of a verified manifest into ranges to fetch.
#[derive(Debug)]
pub struct Planner {
    manifest: Arc<VerifiedManifest>,
    archives: Arc<ArchiveSet>,
    selection: Selection,
    filter: Option<Box<dyn EntryFilter>>,
    next: Link<RangePlanned>,
    progress: Arc<Progress>,
}

impl Planner {
    /// A planner that waits for [`Plan`].
    pub fn new(config: PlannerConfig) -> Self {
        let PlannerConfig { manifest, archives, only, filter, next, progress } = config;
        let selection = Selection::new(only);
        Self { manifest, archives, selection, filter, next: Link::new(next, 1), progress }
    }
}

impl ThreadStage for Planner {
    type In = Plan;
    const NAME: &'static str = "planner";

    fn handle(&mut self, Plan: Plan, _: &Failures) -> Result<(), StageError> {
        let Self { manifest, archives, selection, filter, next, progress } = self;
        let mut ranges = RangeBuilder::new(archives);
        let mut planned = Ok(());
        let only = selection.only.clone();
        let each = |entry: Entry| {
            if filter.as_mut().is_some_and(|filter| !filter.wants(&entry)) {
                return ControlFlow::Continue(());
            }
            let entry = selection.select(entry);
            progress.total_entries.add(1);
            if entry.kind == EntryKind::File {
                progress.total_bytes.add(entry.size);
            }
            planned = ranges.add(entry, &mut |range| next.send(range));
            if planned.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        match only {
            Some(only) => manifest.for_each_entry_at(|path| only.is_match(path), each)?,
            None => manifest.for_each_entry(each)?,
        }
        planned?;
        next.send(ranges.finish())?;
        Ok(next.flush()?)
    }

    fn is_done(&self) -> bool {
        true
    }
}

/// Which entries are restored, and as what.
#[derive(Debug)]
struct Selection {
    only: Option<PathGlobs>,
    files: HashSet<u64>,
    hasher: RandomState,
}

impl Selection {
    fn new(only: Option<PathGlobs>) -> Self {
        Self { only, files: HashSet::new(), hasher: RandomState::new() }
    }

    /// How a selected entry is restored. A hard link whose file is restored, too, needs no content; another one
    /// becomes a file of its own.
    fn select(&mut self, mut entry: Entry) -> Entry {
        if self.only.is_none() {
            // Everything is restored, and the file of a link comes before the link: nothing to remember.
            if entry.kind == EntryKind::Hardlink {
                entry.extents.clear();
            }
            return entry;
        }
        if entry.kind == EntryKind::Hardlink {
            let target = entry.raw_link_target().map(|target| self.hasher.hash_one(target));
            if target.is_some_and(|target| self.files.contains(&target)) {
                entry.extents.clear();
            } else {
                entry.kind = EntryKind::File;
                (entry.link_target, entry.link_target_bytes) = (None, None);
            }
        } else if entry.kind == EntryKind::File {
            self.files.insert(self.hasher.hash_one(entry.raw_path()));
        }
        entry
    }
}

#[cfg(test)]
mod tests;
