//! Reads the manifest and plans which frames to fetch, for which entries.
//!
//! - **In:** [`Plan`], once. **Out:** [`RunPlanned`], in order of the archive.
//! - **Bound:** one run is being built, one is on its way to the fetcher, and one waits there for its share of
//!   memory. A run has at most [`RUN_ENTRIES`] entries of [`RUN_ENTRIES_BYTES`]. Where only some entries are restored, 8 bytes are kept
//!   for each of their files, since any may turn out to be what a later hard link names.
//! - **Blocks:** on the disk where the manifest is spooled, and on the fetcher; it has a thread of its own.
//! - **Survives a crash:** nothing. A restore that was stopped is started again.

pub mod runs;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::Arc;

use actix::prelude::*;
use intellistor_storage::Error;
use intellistor_storage::archive::ArchiveIndex;
use intellistor_storage::manifest::{Entry, EntryKind, VerifiedManifest};

use crate::globs::PathGlobs;
use crate::link::{Failures, Link, Reply};
use crate::progress::Progress;

use runs::RunPlanned;
pub use runs::{RUN_ENTRIES, RUN_ENTRIES_BYTES, RUN_SEALED_BYTES, RUN_TAR_BYTES, Runs};

/// Command to the planner: read the manifest and plan what to fetch.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct Plan;

/// What the planner needs.
#[derive(Debug)]
pub struct PlannerConfig {
    /// What the backup holds.
    pub manifest: Arc<VerifiedManifest>,
    /// Where its frames lie.
    pub index: Arc<ArchiveIndex>,
    /// Which entries to restore; all of them without it.
    pub only: Option<PathGlobs>,
    /// The fetcher.
    pub next: Recipient<RunPlanned>,
    /// Where to report.
    pub failures: Failures,
    /// Counts what is to be done.
    pub progress: Arc<Progress>,
}

/// The stage that groups the entries of a verified manifest into ranges to fetch.
#[derive(Debug)]
pub struct Planner {
    manifest: Arc<VerifiedManifest>,
    index: Arc<ArchiveIndex>,
    selection: Selection,
    next: Link<RunPlanned>,
    failures: Failures,
    progress: Arc<Progress>,
}

impl Planner {
    /// A planner; nothing happens before [`Plan`].
    pub fn new(config: PlannerConfig) -> Self {
        Self {
            manifest: config.manifest,
            index: config.index,
            selection: Selection::new(config.only),
            next: Link::new(config.next, 1),
            failures: config.failures,
            progress: config.progress,
        }
    }

    fn plan(&mut self) -> Result<Reply, Error> {
        let Self { manifest, index, selection, next, progress, .. } = self;
        let mut runs = Runs::new(index);
        let mut ended: Result<Reply, Error> = Ok(Ok(()));
        let only = selection.only.clone();
        let each = |entry| {
            let entry = selection.select(entry);
            progress.total_entries.add(1);
            if entry.kind == EntryKind::File {
                progress.total_bytes.add(entry.size);
            }
            ended = runs.add(entry, &mut |run| next.send(run));
            if matches!(ended, Ok(Ok(()))) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        match only {
            Some(only) => manifest.for_each_entry_at(|path| only.is_match(path), each)?,
            None => manifest.for_each_entry(each)?,
        }
        if !matches!(ended, Ok(Ok(()))) {
            return ended;
        }
        Ok(next.send(runs.finish()).and_then(|()| next.flush()))
    }
}

impl Actor for Planner {
    type Context = SyncContext<Self>;
}

impl Handler<Plan> for Planner {
    type Result = Reply;

    fn handle(&mut self, _: Plan, _: &mut Self::Context) -> Reply {
        let failures = self.failures.clone();
        let planned = failures.guard("planner", || self.plan());
        failures.end_stage();
        planned
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

    /// A wanted entry as it is to be restored. A hard link whose file is restored, too, needs no content; another one
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
