//! Reads the manifest and plans which frames to fetch, for which entries.
//!
//! - **In:** [`Plan`], once. **Out:** [`RangePlanned`], in the order of the manifest.
//! - **Bound:** one range is being built, one is sent to the fetcher, and one waits there for its share of
//!   memory. A range has at most [`RANGE_ENTRIES`](ranges::RANGE_ENTRIES) entries of
//!   [`RANGE_ENTRIES_BYTES`](ranges::RANGE_ENTRIES_BYTES). Where only some entries are restored, 8 bytes are kept
//!   for each of their files, since a later hard link may name it.
//! - **Blocks:** on the disk where the manifest is spooled, on the fetcher and, where an [`Inspector`] reads files that are
//!   there already, on them; it has a thread of its own.
//! - **Survives a crash:** nothing. A restore that was stopped is repeated: what is whole by then is not fetched again.

pub mod ranges;

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::Arc;

use actix::prelude::*;
use intellistor_storage::Error;
use intellistor_storage::archive::ArchiveSet;
use intellistor_storage::manifest::{Entry, EntryKind, VerifiedManifest, streams};

use crate::globs::PathGlobs;
use crate::link::{Failures, Link, Reply, Stopped};
use crate::progress::Progress;
use crate::restore::planner::ranges::{RangeBuilder, RangePlanned};
use crate::target::{Cut, Inspector};
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
    /// The root of the backup to restore alone, as a backup of its own.
    pub root: Option<BackupRoot>,
    /// Whether owners and access lists of Windows are left out.
    pub without_access_lists: bool,
    /// Looks which files are there already; without it, all are fetched.
    pub inspector: Option<Inspector>,
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
    inspector: Option<Inspector>,
    next: Link<RangePlanned>,
    progress: Arc<Progress>,
}

impl Planner {
    /// A planner that waits for [`Plan`].
    pub fn new(config: PlannerConfig) -> Self {
        let PlannerConfig { manifest, archives, only, filter, root, inspector, next, progress, .. } = config;
        let selection = Selection::new(only, root).without_access_lists(config.without_access_lists);
        Self { manifest, archives, selection, filter, inspector, next: Link::new(next, 1), progress }
    }
}

impl ThreadStage for Planner {
    type In = Plan;
    const NAME: &'static str = "planner";

    fn handle(&mut self, Plan: Plan, failures: &Failures) -> Result<(), StageError> {
        let Self { manifest, archives, selection, filter, inspector, next, progress } = self;
        let mut ranges = RangeBuilder::new(archives);
        let mut planned = Ok(());
        selection.for_each(manifest, |mut entry, selection| {
            if filter.as_mut().is_some_and(|filter| !filter.wants(&entry)) {
                return ControlFlow::Continue(());
            }
            entry = selection.select(entry);
            progress.total_entries.add(1);
            if entry.kind.has_content() {
                progress.total_bytes.add(entry.size);
            }
            let looked = match inspector {
                Some(inspector) => inspector.inspect(&mut entry, &|| failures.is_draining()),
                None => Ok(()),
            };
            planned = match looked {
                Ok(()) => ranges.add(entry, &mut |range| next.send(range)),
                Err(Cut) => Err(Stopped.into()),
            };
            if planned.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        planned?;
        next.send(ranges.finish())?;
        Ok(next.flush()?)
    }

    fn is_done(&self) -> bool {
        true
    }
}

/// A folder or file that the backup's policy named. With several, the paths of each one's entries begin with a name of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupRoot {
    /// That name; empty where the backup has one root.
    pub prefix: String,
    /// Where the root is a file, its name: then it is the only entry.
    pub file: Option<String>,
}

impl BackupRoot {
    /// Whether a path is one of its entries'.
    pub fn has(&self, path: &str) -> bool {
        let path = streams::owner(path);
        let is_below = self.prefix.is_empty()
            || path.strip_prefix(&self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        is_below && self.file.as_ref().is_none_or(|name| *self.below(path) == **name)
    }

    /// The path without the name: `.` for the root itself.
    pub fn below<'p>(&self, path: &'p str) -> Cow<'p, str> {
        match path.strip_prefix(&self.prefix).filter(|_| !self.prefix.is_empty()) {
            None => Cow::Borrowed(path),
            // A stream of the root.
            Some(rest) if rest.starts_with("//") => Cow::Owned(format!(".{rest}")),
            Some(rest) => Cow::Borrowed(rest.strip_prefix('/').unwrap_or(".")),
        }
    }

    /// As [`below`](Self::below), for a path's bytes.
    fn below_bytes(&self, path: &[u8]) -> Vec<u8> {
        match path.strip_prefix(self.prefix.as_bytes()).filter(|_| !self.prefix.is_empty()) {
            None => path.to_vec(),
            Some(rest) if rest.starts_with(b"//") => [b".", rest].concat(),
            Some(rest) => rest.strip_prefix(b"/").unwrap_or(b".").to_vec(),
        }
    }
}

/// Which entries are restored, and as what.
#[derive(Debug)]
pub struct Selection {
    only: Option<PathGlobs>,
    root: Option<BackupRoot>,
    without_access_lists: bool,
    files: HashSet<u64>,
    hasher: RandomState,
}

impl Selection {
    /// What the globs match, of one root or of all.
    pub fn new(only: Option<PathGlobs>, root: Option<BackupRoot>) -> Self {
        let (files, hasher) = (HashSet::new(), RandomState::new());
        Self { only, root, without_access_lists: false, files, hasher }
    }

    /// Whether owners and access lists of Windows are left out: everything that compares, writes and applies sees none then.
    #[must_use]
    pub fn without_access_lists(mut self, left_out: bool) -> Self {
        self.without_access_lists = left_out;
        self
    }

    /// Reads what is selected, in the order of the manifest. Each entry is to be [selected](Self::select), unless it is left out
    /// for another reason.
    ///
    /// # Errors
    /// Those of the manifest.
    pub fn for_each(
        &mut self,
        manifest: &VerifiedManifest,
        mut each: impl FnMut(Entry, &mut Self) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (only, root) = (self.only.clone(), self.root.clone());
        let each = |entry| each(entry, self);
        match (only, root) {
            (None, None) => manifest.for_each_entry(each),
            (only, root) => manifest.for_each_entry_at(
                |path| {
                    root.as_ref().is_none_or(|root| root.has(path))
                        && only.as_ref().is_none_or(|only| only.is_match(streams::owner(path)))
                },
                each,
            ),
        }
    }

    /// How a selected entry is restored. A hard link whose file is restored, too, needs no content; another one
    /// becomes a file of its own.
    pub fn select(&mut self, mut entry: Entry) -> Entry {
        if self.without_access_lists {
            entry.security = None;
        }
        if self.only.is_none() && self.root.is_none() {
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
        match &self.root {
            Some(root) => without_name(entry, root),
            None => entry,
        }
    }
}

/// The entry as it would be in a backup of its root alone. A symbolic link's target is text, and stays as it is.
fn without_name(mut entry: Entry, root: &BackupRoot) -> Entry {
    entry.relative_path = root.below(&entry.relative_path).into_owned();
    entry.path_bytes = entry.path_bytes.map(|path| root.below_bytes(&path));
    if entry.kind == EntryKind::Hardlink {
        entry.link_target = entry.link_target.map(|target| root.below(&target).into_owned());
        entry.link_target_bytes = entry.link_target_bytes.map(|target| root.below_bytes(&target));
    }
    entry
}

#[cfg(test)]
mod tests;
