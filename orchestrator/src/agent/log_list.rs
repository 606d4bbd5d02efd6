//! The logs of a policy's runs on this machine. Its serde form is what `intellistor-agent logs list` prints.

use std::path::PathBuf;

use intellistor_telemetry::run_log;
use serde::Serialize;

use crate::operations::report::lossy;

/// Logs of a policy's runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogList {
    /// The policy's id.
    pub policy: String,
    /// Where the logs are.
    #[serde(serialize_with = "lossy")]
    pub folder: PathBuf,
    /// Oldest first.
    pub logs: Vec<LogRow>,
}

/// The log of one job's runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogRow {
    /// Names the runs.
    pub timestamp: String,
    /// Where it is.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    pub bytes: u64,
}

impl LogList {
    pub(super) fn read(policy: String, folder: PathBuf) -> std::io::Result<Self> {
        let row =
            |log: run_log::LogFile| LogRow { timestamp: log.timestamp, path: log.path, bytes: log.bytes };
        let logs = run_log::list(&folder)?.into_iter().map(row).collect();
        Ok(Self { policy, folder, logs })
    }
}
