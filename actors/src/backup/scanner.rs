//! Walks the roots and finds what to back up.
//!
//! - **In:** [`Scan`], once. **Out:** [`FilesScanned`], in the order of the archive: batches of at most
//!   [`BATCH`] entries and some [`BATCH_PATH_BYTES`] of their paths.
//! - **Bound:** [`WINDOW`] batches are ahead of the archiver, and one is being made. Reading 1,024 files
//!   takes longer than a slow disk's listing of the next ones, and however long the paths are it is less than
//!   1 MiB. Besides, the names in the folders above the current one are in memory: their length and 5 bytes each.
//! - **Blocks:** on the disk, and on the archiver; it has a thread of its own.
//! - **Survives a crash:** nothing by itself. Where the [recorder](crate::backup::scan_recorder) has the whole walk, it is
//!   not repeated; otherwise it is, and finds what exists at that time.

use actix::prelude::*;

use crate::link::{Failures, Link, Reply, Stopped};
use crate::source::{Excludes, Root, Walk, Walked};
use crate::threaded::{StageError, ThreadStage};

/// Entries in a batch.
pub const BATCH: usize = 256;
/// A batch ends with the entry that brings its paths to this size.
pub const BATCH_PATH_BYTES: usize = 64 << 10;
/// Batches ahead of the archiver.
pub const WINDOW: usize = 4;

/// Command to the first stage: walk the roots, or read the recorded walk.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct Scan;

/// A batch of the walk, in archive order.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct FilesScanned {
    /// Index in the walk of the first of them.
    pub first: u64,
    /// Entries and problems, in the order of the walk.
    pub walked: Vec<Walked>,
    /// Whether this batch ends the walk.
    pub last: bool,
}

/// The stage that walks the roots.
#[derive(Debug)]
pub struct Scanner {
    roots: Vec<Root>,
    excludes: Excludes,
    next: Link<FilesScanned>,
}

impl Scanner {
    /// A scanner that waits for [`Scan`].
    pub fn new(roots: Vec<Root>, excludes: Excludes, next: Recipient<FilesScanned>) -> Self {
        Self { roots, excludes, next: Link::new(next, WINDOW) }
    }
}

impl ThreadStage for Scanner {
    type In = Scan;
    const NAME: &'static str = "scanner";

    fn handle(&mut self, Scan: Scan, failures: &Failures) -> Result<(), StageError> {
        let mut walked = Vec::with_capacity(BATCH);
        let (mut path_bytes, mut first) = (0, 0);
        for step in Walk::new(self.roots.clone(), self.excludes.clone()) {
            // The archiver answers late while it reads a large file; the walk need not continue until then.
            if failures.is_draining() {
                return Err(Stopped.into());
            }
            let step = step?;
            path_bytes += path_bytes_of(&step);
            walked.push(step);
            if walked.len() == BATCH || path_bytes >= BATCH_PATH_BYTES {
                let walked = std::mem::replace(&mut walked, Vec::with_capacity(BATCH));
                let next = first + walked.len() as u64;
                self.next.send(FilesScanned { first, walked, last: false })?;
                (path_bytes, first) = (0, next);
            }
        }
        self.next.send(FilesScanned { first, walked, last: true })?;
        Ok(self.next.flush()?)
    }

    fn is_done(&self) -> bool {
        true
    }
}

fn path_bytes_of(step: &Walked) -> usize {
    match step {
        Walked::Entry(entry) | Walked::InCloud(entry) => {
            entry.relative_path.len() + entry.source.as_path().as_os_str().len()
        }
        Walked::LeftOut { relative_path, problem } => {
            relative_path.len() + problem.relative_path.len() + problem.reason.len()
        }
    }
}

#[cfg(test)]
mod tests;
