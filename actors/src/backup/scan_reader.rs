//! Gives the archiver the walk that was kept: the scanner's place in a pipeline that archives what an earlier one
//! has scanned.
//!
//! - **In:** [`Scan`], once. **Out:** [`FilesScanned`], in the order of the walk, from the step on at which the
//!   committed parts end.
//! - **Bound:** as the scanner: [`WINDOW`] batches are ahead of the archiver, and one is being made.
//! - **Blocks:** on the disk, and on the archiver; it has a thread of its own.
//! - **Survives a crash:** nothing by itself; the walk that it reads does.

use actix::prelude::*;
use intellistor_storage::state::Ledger;

use crate::backup::scanner::{FilesScanned, Scan, WINDOW};
use crate::link::{Failures, Link, Reply, Stopped};

/// What the reader needs.
#[derive(Debug)]
pub struct ScanReaderConfig {
    /// Where the walk was kept.
    pub ledger: Ledger,
    /// Index of the step to begin with.
    pub from: u64,
    /// The archiver.
    pub next: Recipient<FilesScanned>,
    /// Where to report.
    pub failures: Failures,
}

/// See the module.
#[derive(Debug)]
pub struct ScanReader {
    ledger: Ledger,
    from: u64,
    next: Link<FilesScanned>,
    failures: Failures,
}

impl ScanReader {
    /// A reader that waits for [`Scan`].
    pub fn new(config: ScanReaderConfig) -> Self {
        let ScanReaderConfig { ledger, from, next, failures } = config;
        Self { ledger, from, next: Link::new(next, WINDOW), failures }
    }

    fn read(&mut self) -> Result<Reply, intellistor_storage::Error> {
        let mut first = self.from;
        for batch in self.ledger.scan(self.from) {
            if self.failures.is_stopped() {
                return Ok(Err(Stopped));
            }
            let walked = batch?;
            let next = first + walked.len() as u64;
            if self.next.send(FilesScanned { first, walked, last: false }).is_err() {
                return Ok(Err(Stopped));
            }
            first = next;
        }
        let ended = self.next.send(FilesScanned { first, walked: Vec::new(), last: true });
        Ok(ended.and_then(|()| self.next.flush()))
    }
}

impl Actor for ScanReader {
    type Context = SyncContext<Self>;
}

impl Handler<Scan> for ScanReader {
    type Result = Reply;

    fn handle(&mut self, Scan: Scan, _: &mut Self::Context) -> Reply {
        let failures = self.failures.clone();
        failures.guard("scan reader", || self.read())
    }
}
