//! Records the walk, so that a run that resumes need not repeat it, and archives what the first one found.
//!
//! - **In:** [`FilesCompared`], in order. **Out:** the [`Scanned`] totals, once, after the last batch is durable.
//! - **Bound:** one batch; the scanner's window is the bound before it.
//! - **Blocks:** on the disk; it has a thread of its own.
//! - **Survives a crash:** the whole walk or nothing: a walk without its last batch is made again.

use std::sync::Arc;

use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::state::{Ledger, Scanned};
use tokio::sync::oneshot;

use crate::backup::changes::FilesCompared;
use crate::backup::content_counter::ContentCounter;
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
    type In = FilesCompared;
    const NAME: &'static str = "scan recorder";

    fn handle(&mut self, batch: FilesCompared, _: &Failures) -> Result<(), StageError> {
        self.ledger.add_scan(&batch.steps)?;
        self.scanned.steps += batch.steps.len() as u64;
        for (entries, bytes) in batch.steps.iter().filter_map(|step| self.counter.count_step(step)) {
            self.scanned.entries += entries;
            self.scanned.bytes = self.scanned.bytes.saturating_add(bytes);
            self.progress.total_entries.add(entries);
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
