//! Compares the walk with the base, and decides what is read.
//!
//! - **In:** [`FilesScanned`], in order. **Out:** [`FilesCompared`], in order: runs of entries that are taken over as they
//!   are, and what is read, with the reason.
//! - **Bound:** as the scanner: [`WINDOW`] batches are ahead of the next stage. Of the base one entry is in memory.
//! - **Blocks:** on the next stage, and on the disk when the base's manifest is large; it has a thread of its own.
//! - **Survives a crash:** nothing by itself. A job records what it decided.

mod detect;
mod reason;

use actix::prelude::*;
use intellistor_storage::manifest::{Entry, Problem};
use serde::{Deserialize, Serialize};

use crate::backup::scanner::{FilesScanned, WINDOW};
use crate::link::{Failures, Link, Reply};
use crate::source::{ScannedEntry, Walked};
use crate::threaded::{StageError, ThreadStage};

pub use detect::DetectChanges;
pub use reason::Reason;

/// What is done about one or more entries of the walk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Entries of the base, by their index in its list, are taken over as they are. `bytes`: their content.
    Unchanged { first: u64, count: u64, bytes: u64 },
    /// Unchanged too, but recorded by itself: one of several names of a file. The entry is the base's, with this backup's
    /// numbers of archives.
    Known { scanned: ScannedEntry, entry: Box<Entry> },
    /// It is read. `before`: the base's entry under this path, with this backup's numbers of archives.
    Read { scanned: ScannedEntry, reason: Reason, before: Option<Box<Entry>> },
    /// What is left out, and why.
    Problem(Problem),
}

impl Step {
    /// What is done about a step of the walk where there is no base.
    pub fn without_base(walked: Walked) -> Self {
        match walked {
            Walked::Entry(scanned) => Self::Read { scanned, reason: Reason::New, before: None },
            Walked::Problem(problem) => Self::Problem(problem),
        }
    }
}

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

/// The stage that compares the walk with the base.
#[derive(Debug)]
pub struct Changes {
    next: Link<FilesCompared>,
    /// How many steps were sent.
    sent: u64,
}

impl Changes {
    pub fn new(next: Recipient<FilesCompared>) -> Self {
        Self { next: Link::new(next, WINDOW), sent: 0 }
    }
}

impl ThreadStage for Changes {
    type In = FilesScanned;
    const NAME: &'static str = "changes";

    fn handle(&mut self, scanned: FilesScanned, _: &Failures) -> Result<(), StageError> {
        let FilesScanned { walked, last, .. } = scanned;
        let steps: Vec<_> = walked.into_iter().map(Step::without_base).collect();
        let first = self.sent;
        self.sent += steps.len() as u64;
        self.next.send(FilesCompared { first, steps, last })?;
        if last { Ok(self.next.flush()?) } else { Ok(()) }
    }
}
