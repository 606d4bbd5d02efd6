//! What a policy's runs remember on this machine: the only module that uses sled.
//!
//! One folder for each policy, locked by the run that uses it:
//!
//! ```text
//! lock            locked as long as a run lives; the system unlocks it when the process dies, however it dies
//! holder.json     who has it locked, for people
//! view.json       the job and the history, for people, while sled cannot be asked
//! job/            a database: the ledger of the one job that has not ended
//! history/        a database: jobs that have ended, logs that are still to be sent, names of jobs begun
//! damaged-*/      databases that could not be opened; three are kept
//! ```
//! **In:** what a run does, step by step. **Out:** where the next run resumes. **Guarantees:** what a method's doc
//! calls flushed survives a crash of the process and of the machine; a batch survives as a whole or not at all; a part
//! is recorded only after the part before it. **After a crash:** a ledger is read whole before it is used. One that is
//! damaged, or written by a newer program, is moved aside and reported; a new job is then started, because the bucket,
//! not this folder, is authoritative. The folder `job/` is removed when its job is closed, which bounds what sled takes
//! on the
//! disk.

mod database;
pub mod job;
mod ledger;
mod lock;
mod queue;
mod records;
mod snapshot;

pub use ledger::Ledger;
pub use lock::Holder;
pub use queue::Queue;
pub use records::{
    BaseReference, Compared, Cursor, Findings, Job, JobBase, PartRecord, PartialEntry, PendingLog, RootView,
    RunSpan, Scanned,
};
pub use snapshot::{Snapshot, View, snapshot};

#[cfg(test)]
mod tests;
