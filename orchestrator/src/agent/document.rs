//! A run as `intellistor-agent run` prints it.

use std::path::PathBuf;

use serde::Serialize;

use crate::agent::report::{AgentReport, Resumed};
use crate::lifecycle::BackupReference;
use crate::operations::backup_document::{BackupDocument, RestoreLines};
use crate::operations::report::lossy;

/// Its serde form is the JSON that `agent run` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentDocument {
    #[serde(flatten)]
    made: Made,
    state: &'static str,
    resumed: bool,
    resumed_from: Option<Resumed>,
    parts_reused: u32,
    parts_sent: u32,
    log: LogLocation,
    trace_id: Option<String>,
    forgotten: Vec<BackupReference>,
    swept: Vec<BackupReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_first: Option<Box<AgentDocument>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Made {
    Backup(Box<BackupDocument>),
    Nothing { backup_id: String, timestamp: String, policy: String, warnings: Vec<String> },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct LogLocation {
    #[serde(serialize_with = "lossy")]
    local: PathBuf,
    /// The key in the store, once it is there.
    s3: Option<String>,
}

impl AgentReport {
    /// The report as the program prints it. `cli_restore` gives the command that restores the backup with a key.
    pub fn document(&self, cli_restore: &dyn Fn(&str) -> RestoreLines) -> AgentDocument {
        let made = match &self.outcome {
            Ok(backup) => {
                let mut document = backup.document(cli_restore(&backup.key_backup));
                // The run's own trace is named below.
                document.trace_id = None;
                document.warnings.splice(0..0, self.notices.clone());
                Made::Backup(Box::new(document))
            }
            Err(_) => Made::Nothing {
                backup_id: self.name.backup_id.clone(),
                timestamp: self.name.timestamp.clone(),
                policy: self.name.policy_id.clone(),
                warnings: self.notices.clone(),
            },
        };
        AgentDocument {
            made,
            state: self.state,
            resumed: self.resumed.is_some(),
            resumed_from: self.resumed,
            parts_reused: self.parts_reused,
            parts_sent: self.parts_sent,
            log: LogLocation { local: self.log.clone(), s3: self.log_key.clone() },
            trace_id: self.trace_id.clone(),
            forgotten: self.forgotten.clone(),
            swept: self.swept.clone(),
            finished_first: self.finished_first.as_ref().map(|first| Box::new(first.document(cli_restore))),
        }
    }
}
