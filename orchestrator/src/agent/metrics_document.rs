//! What a monitoring system needs to know about a policy, for the textfile collector of Prometheus' node exporter.
//!
//! **In:** a policy's status, the exit code of its run, its schedule. **Out:** `intellistor_<policy_id>.prom` in a folder;
//! format: <https://prometheus.io/docs/instrumenting/exposition_formats/>. **Guarantees:** a collector sees the old file or
//! the new one whole, and may read it as another user. **After a crash:** what a crash leaves of the temporary file, the next
//! run removes.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use intellistor_storage::disk::leftovers;

use super::status::PolicyStatus;
use crate::cron::Cron;
use crate::zone::Zone;

const TEMPORARY: &str = ".metrics";

/// The metrics of a policy, at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsDocument {
    policy: String,
    text: String,
}

impl MetricsDocument {
    /// `cron`: its schedule, where that is known. `missed`: starts that did not happen before this run.
    pub fn new(status: &PolicyStatus, exit_code: u8, cron: Option<&Cron>, missed: usize) -> Self {
        let next =
            status.next_run.or_else(|| Some(cron?.next_after(Zone::of_this_machine().now())?.to_utc()));
        Self { policy: status.policy.clone(), text: render(status, exit_code, next, missed, Utc::now()) }
    }

    /// The file's name in the folder.
    pub fn file_in(&self, folder: &Path) -> PathBuf {
        folder.join(format!("intellistor_{}.prom", self.policy))
    }

    /// Replaces the policy's file.
    ///
    /// # Errors
    /// The system's; an old file is then as it was.
    pub fn write_in(&self, folder: &Path) -> io::Result<()> {
        let prefix = format!("{TEMPORARY}-{}-", self.policy);
        leftovers::remove_abandoned_in(folder, |name| leftovers::is_temporary(name, &prefix));
        let mut whole = tempfile::Builder::new().prefix(&prefix).tempfile_in(folder)?;
        whole.write_all(self.text.as_bytes())?;
        #[cfg(unix)]
        whole.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        whole.persist(self.file_in(folder))?;
        Ok(())
    }
}

fn render(
    status: &PolicyStatus,
    exit_code: u8,
    next: Option<DateTime<Utc>>,
    missed: usize,
    now: DateTime<Utc>,
) -> String {
    let id = &status.policy;
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP intellistor_{name} {help}\n# TYPE intellistor_{name} gauge\nintellistor_{name}{{policy=\"{id}\"}} {value}\n"
        );
    };
    let seconds = |time: DateTime<Utc>| time.timestamp().to_string();
    gauge("last_run_timestamp_seconds", "When the last run ended.", &seconds(now));
    gauge("last_run_exit_code", "The exit code of the last run.", &exit_code.to_string());
    if let Some(next) = next {
        gauge("next_run_timestamp_seconds", "When the next run is to start.", &seconds(next));
    }
    gauge("missed_starts", "Starts that did not happen before the last run.", &missed.to_string());
    gauge("logs_to_send", "Logs that are not in the store yet.", &status.logs_to_send.to_string());
    let Some(good) = &status.last_good else { return text };
    let figures = &good.figures;
    gauge("last_success_timestamp_seconds", "When the newest backup was finished.", &seconds(good.at));
    gauge("last_success_duration_seconds", "How long it took.", &format!("{:.3}", figures.seconds));
    gauge("last_success_content_bytes", "Bytes of files in it.", &figures.bytes.to_string());
    gauge("last_success_archive_bytes", "Bytes of its archive.", &figures.archive_bytes.to_string());
    gauge("last_success_files", "Files in it.", &figures.files.to_string());
    gauge(
        "last_success_warnings",
        "Entries that were skipped or changed, and what else needs attention.",
        &figures.problems.to_string(),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_without_a_backup_has_no_success() {
        let status = PolicyStatus { policy: "docs".to_owned(), ..PolicyStatus::default() };
        let text = render(&status, 1, None, 0, DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let expected = "\
# HELP intellistor_last_run_timestamp_seconds When the last run ended.
# TYPE intellistor_last_run_timestamp_seconds gauge
intellistor_last_run_timestamp_seconds{policy=\"docs\"} 1800000000
# HELP intellistor_last_run_exit_code The exit code of the last run.
# TYPE intellistor_last_run_exit_code gauge
intellistor_last_run_exit_code{policy=\"docs\"} 1
";
        assert!(text.starts_with(expected) && !text.contains("success"), "{text}");
    }
}
