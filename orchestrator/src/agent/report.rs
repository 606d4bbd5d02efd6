//! Options of a run of the agent, and its report.

use std::path::PathBuf;

use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::state::job::Ending;
use serde::Serialize;
use tracing::Span;

use crate::error::Result;
use crate::lifecycle::BackupReference;
use crate::notify::NotifySettings;
use crate::operations::report::BackupReport;
use crate::operations::run_options::RunOptions;

#[derive(Debug, Clone, Default)]
pub struct AgentOptions {
    /// As in [`BackupOptions`](crate::BackupOptions). A job that is resumed keeps the one it began with besides.
    pub copy_to: Option<PathBuf>,
    /// Take the policy over from the machine that it belongs to in this store.
    pub take_over: bool,
    /// Accept the folder of a store although it is not the store that earlier runs wrote to.
    pub new_store: bool,
    /// Make a backup that depends on no other. An unfinished job that is to depend on one is ended.
    pub full: bool,
    /// For the notices that the policy asks for.
    pub notify: NotifySettings,
    pub run: RunOptions,
}

/// A run of the agent, with or without a backup.
#[derive(Debug)]
pub struct AgentReport {
    /// Names the run, and the backup that it made or was to make.
    pub name: BackupName,
    /// The job's state, by name; a job that has not ended is resumed by the next run.
    pub state: &'static str,
    /// Where it was resumed, if an earlier run had begun it.
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
    /// Backups that no rule of the policy keeps any more.
    pub forgotten: Vec<BackupReference>,
    /// Backups that were forgotten long enough ago, and of which nothing is left now.
    pub swept: Vec<BackupReference>,
    /// What was lost, repaired or could not be done.
    pub notices: Vec<String>,
    /// The backup, or why the run stopped.
    pub outcome: Result<BackupReport>,
    /// An older job that was finished before this one was begun.
    pub finished_first: Option<Box<AgentReport>>,
}

impl AgentReport {
    /// Whether the job ended without a backup, and not by request.
    pub(super) fn has_failed(&self) -> bool {
        self.state == Ending::Failed.name()
    }

    /// Whether the next run resumes the job.
    pub fn will_resume(&self) -> bool {
        ![Ending::Failed.name(), Ending::Cancelled.name()].contains(&self.state)
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

/// Where a job was resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Resumed {
    /// The state that it was in, by name.
    pub state: &'static str,
    /// Parts that were in the store already.
    pub parts: u32,
    /// Their bytes.
    pub bytes: u64,
}

/// The outcome of a request to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// A run is active, and was asked to cancel its job; it does so within seconds.
    Requested,
    /// No run was active; the job is cancelled.
    Done {
        /// What could not be removed from the store, and why.
        leftover: Option<String>,
    },
    NoJob,
}
