//! What the agent may be asked, and what it answers.

use std::path::PathBuf;

use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::state::Snapshot;
use intellistor_storage::state::job::Ending;
use serde::{Deserialize, Serialize};
use tracing::Span;

use crate::error::Result;
use crate::operations::report::BackupReport;
use crate::operations::run_options::RunOptions;

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct AgentOptions {
    /// As in [`BackupOptions`](crate::BackupOptions). A job that is resumed keeps the one it began with besides.
    pub copy_to: Option<PathBuf>,
    /// Take the policy over from the machine that it belongs to in this store.
    pub take_over: bool,
    /// Take the folder of a store for what it is now, although it is not the one that earlier runs wrote to.
    pub new_store: bool,
    /// Who watches, and who may stop it.
    pub run: RunOptions,
}

/// A run of the agent, whatever came of it.
#[derive(Debug)]
pub struct AgentReport {
    /// What names the run: the backup that it made, or was to make.
    pub name: BackupName,
    /// Where its job stands now, by name; a job that has not ended goes on with the next run.
    pub state: &'static str,
    /// Where it was taken up, if an earlier run had begun it.
    pub resumed: Option<Resumed>,
    /// Parts of an earlier run that the store has, and that were not sent again.
    pub parts_reused: u32,
    /// Parts that this run has sent.
    pub parts_sent: u32,
    /// The run's log on disk.
    pub log: PathBuf,
    /// The log's key in the store, if it is there.
    pub log_key: Option<String>,
    /// The run's trace, where traces are on.
    pub trace_id: Option<String>,
    /// What a person should know besides: what was lost, repaired or could not be done.
    pub notices: Vec<String>,
    /// The backup.
    pub outcome: Result<BackupReport>,
    /// A job of another day that was finished before this one was begun.
    pub finished_first: Option<Box<AgentReport>>,
}

impl AgentReport {
    /// Whether the job ended without a backup, and not by request.
    pub(super) fn has_failed(&self) -> bool {
        self.state == Ending::Failed.name()
    }

    /// Records the outcome in the run's root span.
    pub(super) fn record_in(&self, root: &Span) {
        root.record("intellistor.backup.id", &self.name.backup_id);
        root.record("intellistor.run.resumed", self.resumed.is_some());
        root.record("intellistor.run.state", self.state);
        root.record("intellistor.parts.sent", i64::from(self.parts_sent));
        root.record("intellistor.parts.reused", i64::from(self.parts_reused));
    }
}

/// Where a job was taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// The state in which it was found, by name.
    pub state: &'static str,
    /// Parts that were in the store already.
    pub parts: u32,
    /// Their bytes.
    pub bytes: u64,
}

/// How far a run has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProgress {
    /// The job's state, by name.
    pub state: String,
    /// Of the run.
    pub timestamp: String,
    /// Entries archived.
    pub entries: u64,
    /// Entries in all, 0 until the scan is done.
    pub total_entries: u64,
    /// Bytes of content read.
    pub bytes: u64,
    /// Bytes of content in all, 0 until the scan is done.
    pub total_bytes: u64,
    /// Bytes that the store acknowledged in this run.
    pub stored_bytes: u64,
    /// When this was written, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// A policy's status.
#[derive(Debug)]
pub struct PolicyStatus {
    /// Which.
    pub policy_id: String,
    /// Whether a run is active, and its job if none is.
    pub queue: Snapshot,
    /// How far the active run has come, or the one that was stopped had.
    pub progress: Option<RunProgress>,
}

/// What came of a request to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// A run is active, and was asked to cancel its job; it does so within seconds.
    Requested,
    /// The job that no run was active on is cancelled.
    Done {
        /// What stays in the store where the job sent to, and why; `None` when nothing does.
        leftover: Option<String>,
    },
    NoJob,
}
