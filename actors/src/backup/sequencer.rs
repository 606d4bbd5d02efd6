//! Commits parts in their order, whatever the order in which the store answered.
//!
//! - **In:** [`PartUploaded`], in any order. **Out:** the [`CommitLog`] that has all of them, once, after the last.
//! - **Bound:** parts that wait for an earlier one hold no bodies, only their records, and keep their slots: no
//!   more are sent than a crash may cost.
//! - **Blocks:** on the disk, briefly; it has a thread of its own.
//! - **Survives a crash:** what was committed, as far as the log does. There is never a hole: part n is
//!   committed after parts 1 to n-1.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use intellistor_storage::Result;
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::manifest::{Base, ManifestDraft, PartEntries};
use intellistor_storage::objects::PartReceipt;
use intellistor_storage::state::{Cursor, Ledger, PartRecord};
use tokio::sync::oneshot;

use crate::backup::uploader::PartUploaded;
use crate::link::Failures;
use crate::threaded::{StageError, ThreadStage};

/// Where parts are committed.
pub trait CommitLog: Debug + Send + Unpin + 'static {
    /// Adds a part that the store holds durably, what ended in it, and where it ends in the walk.
    ///
    /// # Errors
    /// Those of the disk.
    fn commit(&mut self, part: PartRecord, listed: PartEntries, cursor: &Cursor) -> Result<()>;
}

/// A job's ledger: what is committed survives a crash.
impl CommitLog for Ledger {
    fn commit(&mut self, part: PartRecord, listed: PartEntries, cursor: &Cursor) -> Result<()> {
        Ledger::commit(self, &part, cursor, &listed)
    }
}

/// The log of a backup that leaves no state: it ends with the process.
#[derive(Debug, Default)]
pub struct MemoryCommitLog {
    pub manifest: ManifestDraft,
    /// What it takes to complete the upload, in order.
    pub receipts: Vec<PartReceipt>,
}

impl MemoryCommitLog {
    /// The log of a backup that takes entries over from `base`.
    pub fn new(base: Option<Arc<Base>>) -> Self {
        Self { manifest: ManifestDraft::new(base), receipts: Vec::new() }
    }
}

impl CommitLog for MemoryCommitLog {
    fn commit(&mut self, part: PartRecord, listed: PartEntries, _: &Cursor) -> Result<()> {
        self.manifest.commit(part.segment, listed)?;
        self.receipts.push(part.receipt);
        Ok(())
    }
}

/// The stage that commits uploaded parts in order.
#[derive(Debug)]
pub struct Sequencer<L> {
    waiting: BTreeMap<u32, PartUploaded>,
    next: u32,
    /// Given away with the last part.
    log: Option<(L, oneshot::Sender<L>)>,
}

impl<L: CommitLog> Sequencer<L> {
    /// A sequencer that commits part `next` first; `done` gets the log in the end.
    pub fn new(log: L, next: u32, done: oneshot::Sender<L>) -> Self {
        Self { waiting: BTreeMap::new(), next, log: Some((log, done)) }
    }
}

impl<L: CommitLog> ThreadStage for Sequencer<L> {
    type In = PartUploaded;
    const NAME: &'static str = "sequencer";
    /// Parts that arrive while the pipeline drains are committed: the next run need not send them again.
    const HANDLES_WHILE_DRAINING: bool = true;

    fn handle(&mut self, part: PartUploaded, failures: &Failures) -> Result<(), StageError> {
        self.waiting.insert(part.segment.number, part);
        while let Some(part) = self.waiting.remove(&self.next) {
            let Some((mut log, done)) = self.log.take() else { return Ok(()) };
            let PartUploaded { segment, receipt, listed, cursor, last, slot } = part;
            let (number, bytes) = (segment.number, segment.bytes);
            // Ordering law (must): acknowledged, then recorded and flushed, then its memory released.
            log.commit(PartRecord { segment, receipt, last }, listed, &cursor)?;
            drop(slot);
            tracing::info!(part = number, bytes, "part stored");
            self.next += 1;
            if last {
                // The uploader shares the span: all that it has sent is here. It ends before the pipeline can.
                failures.end_stage();
                Failpoint::ArchiveCommitted.reached();
                // The receiver is gone when the pipeline came down in this very moment.
                let _ = done.send(log);
            } else {
                self.log = Some((log, done));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
