//! Gives the archiver a recorded walk: takes the scanner's place in a pipeline that archives what an earlier one
//! has scanned.
//!
//! - **In:** [`Scan`], once. **Out:** [`FilesCompared`], in the order of the walk, from the step on at which the
//!   committed parts end.
//! - **Bound:** as the scanner: [`WINDOW`] batches are ahead of the archiver, and one is being made.
//! - **Blocks:** on the disk, and on the archiver; it has a thread of its own.
//! - **Survives a crash:** nothing by itself; the walk that it reads does.

use std::path::PathBuf;

use actix::prelude::*;
use intellistor_storage::state::Ledger;

use crate::backup::changes::{FilesCompared, Step};
use crate::backup::scanner::{Scan, WINDOW};
use crate::link::{Failures, Link, Stopped};
use crate::threaded::{StageError, ThreadStage};

/// A root of the recorded walk whose files are elsewhere now: a snapshot lasts no longer than the run that made it. Both
/// are paths without links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedRoot {
    pub from: PathBuf,
    pub to: PathBuf,
}

/// The stage that reads the recorded walk.
#[derive(Debug)]
pub struct ScanReader {
    ledger: Ledger,
    from: u64,
    moved: Vec<MovedRoot>,
    next: Link<FilesCompared>,
}

impl ScanReader {
    /// A reader that waits for [`Scan`], and then begins with step `from` of the walk that `ledger` has.
    pub fn new(ledger: Ledger, from: u64, moved: Vec<MovedRoot>, next: Recipient<FilesCompared>) -> Self {
        Self { ledger, from, moved, next: Link::new(next, WINDOW) }
    }

    fn find(&self, step: &mut Step) {
        let (Step::Known { scanned, .. } | Step::Read { scanned, .. }) = step else { return };
        let found = self.moved.iter().find_map(|root| scanned.source.rebased(&root.from, &root.to));
        if let Some(found) = found {
            scanned.source = found;
        }
    }
}

impl ThreadStage for ScanReader {
    type In = Scan;
    const NAME: &'static str = "scan reader";

    fn handle(&mut self, Scan: Scan, failures: &Failures) -> Result<(), StageError> {
        let mut first = self.from;
        for batch in self.ledger.scan(self.from) {
            if failures.is_draining() {
                return Err(Stopped.into());
            }
            let mut steps = batch?;
            steps.iter_mut().for_each(|step| self.find(step));
            let next = first + steps.len() as u64;
            self.next.send(FilesCompared { first, steps, last: false })?;
            first = next;
        }
        self.next.send(FilesCompared { first, steps: Vec::new(), last: true })?;
        Ok(self.next.flush()?)
    }
}
