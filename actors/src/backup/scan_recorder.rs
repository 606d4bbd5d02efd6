//! Records the walk, so that a run that resumes need not repeat it, and archives what the first one found.
//!
//! - **In:** [`FilesScanned`], in order. **Out:** the [`Scanned`] totals, once, after the last batch is durable.
//! - **Bound:** one batch; the scanner's window is the bound before it.
//! - **Blocks:** on the disk; it has a thread of its own.
//! - **Survives a crash:** the whole walk or nothing: a walk without its last batch is made again.

use std::sync::Arc;

use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::state::{Ledger, Scanned};
use tokio::sync::oneshot;

use crate::backup::scanner::{ContentCounter, FilesScanned};
use crate::link::Failures;
use crate::progress::Progress;
use crate::threaded::{StageError, ThreadStage};

/// The stage that records a walk in the job's ledger.
#[derive(Debug)]
pub struct ScanRecorder {
    ledger: Ledger,
    done: Option<oneshot::Sender<Scanned>>,
    progress: Arc<Progress>,
    counter: ContentCounter,
    scanned: Scanned,
}

impl ScanRecorder {
    /// A recorder that has seen nothing. `done` gets the totals; `progress` too, as they grow.
    pub fn new(ledger: Ledger, done: oneshot::Sender<Scanned>, progress: Arc<Progress>) -> Self {
        let (counter, scanned) = (ContentCounter::default(), Scanned::default());
        Self { ledger, done: Some(done), progress, counter, scanned }
    }
}

impl ThreadStage for ScanRecorder {
    type In = FilesScanned;
    const NAME: &'static str = "scan recorder";

    fn handle(&mut self, batch: FilesScanned, _: &Failures) -> Result<(), StageError> {
        self.ledger.add_scan(&batch.walked)?;
        self.scanned.steps += batch.walked.len() as u64;
        for bytes in batch.walked.iter().filter_map(|step| self.counter.count(step)) {
            self.scanned.entries += 1;
            self.scanned.bytes = self.scanned.bytes.saturating_add(bytes);
            self.progress.total_entries.add(1);
            self.progress.total_bytes.add(bytes);
        }
        if batch.last {
            self.ledger.flush()?;
            Failpoint::ScanEnded.reached();
            if let Some(done) = self.done.take() {
                // The receiver is gone when the pipeline came down in this very moment.
                let _ = done.send(self.scanned);
            }
        }
        Ok(())
    }
}
