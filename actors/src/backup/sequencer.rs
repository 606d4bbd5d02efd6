//! Commits parts in their order, whatever the order in which the store answered.
//!
//! - **In:** [`PartUploaded`], in any order. **Out:** the [`Book`] in which all of them stand, once, after the last.
//! - **Bound:** parts that wait for an earlier one hold no bodies, only their records, and keep their slots: no
//!   more are sent than a crash may cost.
//! - **Blocks:** on the disk, briefly; it has a thread of its own.
//! - **Survives a crash:** what was committed, as far as the book does. There is never a hole: part n is
//!   committed after parts 1 to n-1.

use std::collections::BTreeMap;
use std::fmt::Debug;

use actix::prelude::*;
use intellistor_storage::Result;
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::manifest::{ManifestDraft, PartEntries};
use intellistor_storage::objects::PartReceipt;
use intellistor_storage::state::{Cursor, Ledger, PartRecord};
use tokio::sync::oneshot;

use crate::backup::uploader::PartUploaded;
use crate::link::{Failures, Reply};

/// Where committed parts stand.
pub trait Book: Debug + Send + Unpin + 'static {
    /// Adds a part that the store holds durably, what ended in it, and where it ends in the walk.
    ///
    /// # Errors
    /// Those of the disk.
    fn commit(&mut self, part: PartRecord, listed: PartEntries, cursor: &Cursor) -> Result<()>;
}

/// A job's ledger: what is committed survives a crash.
impl Book for Ledger {
    fn commit(&mut self, part: PartRecord, listed: PartEntries, cursor: &Cursor) -> Result<()> {
        Ledger::commit(self, &part, cursor, &listed)
    }
}

/// The book of a backup that leaves no state: it ends with the process.
#[derive(Debug, Default)]
pub struct Draft {
    /// What the manifest will be made of.
    pub manifest: ManifestDraft,
    /// What it takes to complete the upload, in order.
    pub receipts: Vec<PartReceipt>,
}

impl Book for Draft {
    fn commit(&mut self, part: PartRecord, listed: PartEntries, _: &Cursor) -> Result<()> {
        self.manifest.commit(part.segment, listed)?;
        self.receipts.push(part.receipt);
        Ok(())
    }
}

/// See the module.
#[derive(Debug)]
pub struct Sequencer<B> {
    waiting: BTreeMap<u32, PartUploaded>,
    next: u32,
    /// Given away with the last part.
    book: Option<(B, oneshot::Sender<B>)>,
    failures: Failures,
}

impl<B: Book> Sequencer<B> {
    /// A sequencer that commits part `next` first; `done` gets the book in the end.
    pub fn new(book: B, next: u32, done: oneshot::Sender<B>, failures: Failures) -> Self {
        Self { waiting: BTreeMap::new(), next, book: Some((book, done)), failures }
    }

    fn commit(&mut self) -> Result<()> {
        while let Some(part) = self.waiting.remove(&self.next) {
            let Some((mut book, done)) = self.book.take() else { return Ok(()) };
            let PartUploaded { segment, receipt, listed, cursor, last, slot } = part;
            let (number, bytes) = (segment.number, segment.bytes);
            // Ordering law (must): acknowledged, then recorded and flushed, then its memory released.
            book.commit(PartRecord { segment, receipt, last }, listed, &cursor)?;
            drop(slot);
            tracing::info!(part = number, bytes, "part stored");
            self.next += 1;
            if last {
                // The uploader shares it: all that it has sent is here.
                self.failures.end_stage();
                Failpoint::ArchiveCommitted.reached();
                // Nobody listens when the pipeline came down in this very moment.
                let _ = done.send(book);
            } else {
                self.book = Some((book, done));
            }
        }
        Ok(())
    }
}

impl<B: Book> Actor for Sequencer<B> {
    type Context = SyncContext<Self>;
}

impl<B: Book> Handler<PartUploaded> for Sequencer<B> {
    type Result = Reply;

    fn handle(&mut self, part: PartUploaded, _: &mut Self::Context) -> Reply {
        let failures = self.failures.clone();
        failures.guard_to_the_end("sequencer", || {
            self.waiting.insert(part.segment.number, part);
            self.commit().map(Ok)
        })
    }
}

#[cfg(test)]
mod tests;
