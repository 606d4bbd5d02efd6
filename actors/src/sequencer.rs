//! Commits parts in their order, whatever the order in which the store answered.
//!
//! - **In:** [`PartUploaded`], in any order. **Out:** the [`Committed`] archive, once, after its last part.
//! - **Bound:** parts that wait for an earlier one hold no bodies, only their records, and no more of them than
//!   the uploader has slots.
//! - **Blocks:** on the disk, briefly; it has a thread of its own.
//! - **Survives a crash:** what was committed, as far as the draft survives it. There is never a hole: part n is
//!   committed after parts 1 to n-1.

use std::collections::BTreeMap;

use actix::prelude::*;
use intellistor_storage::manifest::ManifestDraft;
use intellistor_storage::objects::PartReceipt;
use tokio::sync::oneshot;

use crate::link::Failures;
use crate::messages::{PartUploaded, Reply};

/// Every part of an archive is in the store, and everything about it is recorded.
#[derive(Debug)]
pub struct Committed {
    /// What the manifest will be made of.
    pub draft: ManifestDraft,
    /// What it takes to complete the upload, in order.
    pub receipts: Vec<PartReceipt>,
}

/// See the module.
#[derive(Debug)]
pub struct Sequencer {
    waiting: BTreeMap<u32, PartUploaded>,
    committed: Committed,
    done: Option<oneshot::Sender<Committed>>,
    failures: Failures,
}

impl Sequencer {
    /// A sequencer at the beginning of an archive; `done` gets its end.
    pub fn new(done: oneshot::Sender<Committed>, failures: Failures) -> Self {
        let committed = Committed { draft: ManifestDraft::default(), receipts: Vec::new() };
        Self { waiting: BTreeMap::new(), committed, done: Some(done), failures }
    }

    fn commit(&mut self) -> Result<Reply, intellistor_storage::Error> {
        while let Some(part) = self.waiting.remove(&(self.committed.receipts.len() as u32 + 1)) {
            let PartUploaded { segment, receipt, recorded, last } = part;
            self.committed.draft.commit(segment, &recorded.entries, &recorded.problems)?;
            self.committed.receipts.push(receipt);
            if last && let Some(done) = self.done.take() {
                let empty = Committed { draft: ManifestDraft::default(), receipts: Vec::new() };
                // Nobody listens when the pipeline came down in this very moment.
                let _ = done.send(std::mem::replace(&mut self.committed, empty));
            }
        }
        Ok(Ok(()))
    }
}

impl Actor for Sequencer {
    type Context = SyncContext<Self>;
}

impl Handler<PartUploaded> for Sequencer {
    type Result = Reply;

    fn handle(&mut self, part: PartUploaded, _: &mut Self::Context) -> Reply {
        let failures = self.failures.clone();
        failures.guard("sequencer", || {
            self.waiting.insert(part.segment.number, part);
            self.commit()
        })
    }
}
