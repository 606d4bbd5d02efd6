//! The logs of a policy's runs on this machine. Its serde form is what `intellistor-agent logs list` prints.

use std::path::PathBuf;

use chrono::{DateTime, Local, Utc};
use intellistor_telemetry::run_log;
use serde::Serialize;

use super::times::to_the_second_if_any;
use crate::clock;
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
    /// When the first of them began.
    #[serde(serialize_with = "to_the_second_if_any")]
    pub began: Option<DateTime<Utc>>,
    /// Where it is.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    pub bytes: u64,
}

impl LogList {
    pub(super) fn read(policy: String, folder: PathBuf) -> std::io::Result<Self> {
        let row = |log: run_log::LogFile| LogRow {
            began: clock::parse(&log.timestamp),
            timestamp: log.timestamp,
            path: log.path,
            bytes: log.bytes,
        };
        let logs = run_log::list(&folder)?.into_iter().map(row).collect();
        Ok(Self { policy, folder, logs })
    }

    /// The logs that a person may mean: `latest`, a run's timestamp, or when it began, in local time to the minute or the
    /// second (`2026-11-26 02:00`, also with the zone that tables show) or in UTC as JSON has it. A minute may have several.
    pub fn of(&self, run: &str) -> Vec<&LogRow> {
        if run == "latest" {
            return self.logs.last().into_iter().collect();
        }
        let is_meant =
            |log: &&LogRow| log.timestamp == run || log.began.is_some_and(|began| is_at(began, run));
        self.logs.iter().filter(is_meant).collect()
    }
}

/// Whether a text is a form of a time.
fn is_at(time: DateTime<Utc>, text: &str) -> bool {
    let local = time.with_timezone(&Local);
    let forms = ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M %:z", "%Y-%m-%d %H:%M:%S %:z"];
    let text = text.trim().replacen('T', " ", 1);
    forms.iter().any(|form| local.format(form).to_string() == text)
        || time.format("%Y-%m-%d %H:%M:%SZ").to_string() == text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_name_in_both_kinds_of_time() {
        let log = |timestamp: &str| LogRow {
            timestamp: timestamp.to_owned(),
            began: clock::parse(timestamp),
            path: PathBuf::new(),
            bytes: 0,
        };
        let logs = ["20261125T050000Z", "20261126T050000Z", "20261126T050059Z"].map(log).to_vec();
        let list = LogList { policy: "docs".to_owned(), folder: PathBuf::new(), logs };
        let of = |run: &str| list.of(run).iter().map(|log| log.timestamp.clone()).collect::<Vec<_>>();
        let local = |form: &str| {
            let time = clock::parse("20261126T050059Z").unwrap();
            time.with_timezone(&Local).format(form).to_string()
        };
        assert_eq!(of("latest"), ["20261126T050059Z"]);
        assert_eq!(of("20261125T050000Z"), ["20261125T050000Z"]);
        assert_eq!(of("2026-11-26T05:00:59Z"), ["20261126T050059Z"]);
        for form in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S %:z"] {
            assert_eq!(of(&local(form)), ["20261126T050059Z"], "{form}");
        }
        for form in ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M %:z"] {
            assert_eq!(of(&local(form)), ["20261126T050000Z", "20261126T050059Z"], "{form}");
        }
        for none in ["", "latest~1", "2026-11-26", "20261126T050001Z"] {
            assert!(of(none).is_empty(), "{none}");
        }
    }
}
