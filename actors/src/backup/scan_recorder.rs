//! Keeps the walk, so that a run that is stopped need not make it again, and archives what it found.
//!
//! - **In:** [`FilesScanned`], in order. **Out:** the [`Scanned`] totals, once, after the last batch is durable.
//! - **Bound:** one batch; the scanner's window is the bound before it.
//! - **Blocks:** on the disk; it has a thread of its own.
//! - **Survives a crash:** the whole walk or nothing: a walk without its last batch is made again.

use std::sync::Arc;

use actix::prelude::*;
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::state::{Ledger, Scanned};
use tokio::sync::oneshot;

use crate::backup::scanner::{Census, FilesScanned};
use crate::link::{Failures, Reply};
use crate::progress::Progress;

/// What the recorder needs.
#[derive(Debug)]
pub struct ScanRecorderConfig {
    /// Where the walk is kept.
    pub ledger: Ledger,
    /// Gets the totals.
    pub done: oneshot::Sender<Scanned>,
    /// Where to report.
    pub failures: Failures,
    /// Gets the totals too, as they grow.
    pub progress: Arc<Progress>,
}

/// See the module.
#[derive(Debug)]
pub struct ScanRecorder {
    ledger: Ledger,
    done: Option<oneshot::Sender<Scanned>>,
    failures: Failures,
    progress: Arc<Progress>,
    census: Census,
    scanned: Scanned,
}

impl ScanRecorder {
    /// A recorder that has seen nothing.
    pub fn new(config: ScanRecorderConfig) -> Self {
        let ScanRecorderConfig { ledger, done, failures, progress } = config;
        let (census, scanned) = (Census::default(), Scanned::default());
        Self { ledger, done: Some(done), failures, progress, census, scanned }
    }
}

impl Actor for ScanRecorder {
    type Context = SyncContext<Self>;
}

impl Handler<FilesScanned> for ScanRecorder {
    type Result = Reply;

    fn handle(&mut self, batch: FilesScanned, _: &mut Self::Context) -> Reply {
        let failures = self.failures.clone();
        failures.guard("scan recorder", || {
            self.ledger.add_scan(&batch.walked)?;
            self.scanned.steps += batch.walked.len() as u64;
            for bytes in batch.walked.iter().filter_map(|step| self.census.count(step)) {
                self.scanned.entries += 1;
                self.scanned.bytes = self.scanned.bytes.saturating_add(bytes);
                self.progress.total_entries.add(1);
                self.progress.total_bytes.add(bytes);
            }
            if batch.last {
                self.ledger.flush()?;
                Failpoint::ScanEnded.reached();
                if let Some(done) = self.done.take() {
                    // Nobody listens when the pipeline came down in this very moment.
                    let _ = done.send(self.scanned);
                }
            }
            Ok(Ok(()))
        })
    }
}
