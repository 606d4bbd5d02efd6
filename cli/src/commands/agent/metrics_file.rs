//! What a monitoring system needs to know about a policy, as a text file for the Prometheus node exporter's textfile
//! collector; format:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use intellistor::agent::{Agent, PolicyStatus};
use intellistor::leftovers;

use crate::exit::Exit;
use crate::screen::Screen;

const TEMPORARY: &str = ".metrics";

/// Writes the policy's metrics. A failure is only a warning: the backup is not affected.
pub(crate) fn write(file: &Path, agent: &Agent, policy_id: &str, exit: Exit, screen: &Screen) {
    let status = agent.status(policy_id).map_err(io::Error::other);
    let written = status.and_then(|status| {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The collector must never see half a file, and reads it as another user.
        leftovers::remove_abandoned_in(folder, |name| leftovers::is_temporary(name, TEMPORARY));
        let mut whole = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder)?;
        whole.write_all(render(&status, exit, chrono::Utc::now().timestamp()).as_bytes())?;
        #[cfg(unix)]
        whole.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        whole.persist(file)?;
        Ok(())
    });
    if let Err(error) = written {
        screen.warn(format_args!(
            "the metrics file {} was not written: {error}. The backup itself is not affected",
            file.display()
        ));
    }
}

/// The metrics of one policy, `now` in seconds since 1970.
fn render(status: &PolicyStatus, exit: Exit, now: i64) -> String {
    let id = &status.policy;
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP intellistor_{name} {help}\n# TYPE intellistor_{name} gauge\nintellistor_{name}{{policy=\"{id}\"}} {value}\n"
        );
    };
    gauge("last_run_timestamp_seconds", "When the last run ended.", &now.to_string());
    gauge("last_run_exit_code", "The exit code of the last run.", &exit.code().to_string());
    let Some((job, report)) = &status.last_backup else { return text };
    let ended = job.ended.unwrap_or(job.began).timestamp();
    gauge("last_success_timestamp_seconds", "When the newest backup was finished.", &ended.to_string());
    gauge("last_success_duration_seconds", "How long it took.", &format!("{:.3}", report.seconds));
    gauge("last_success_content_bytes", "Bytes of files in it.", &report.totals.bytes.to_string());
    gauge("last_success_archive_bytes", "Bytes of its archive.", &report.archive_bytes.to_string());
    gauge("last_success_files", "Files in it.", &report.totals.files.to_string());
    gauge(
        "last_success_warnings",
        "Entries that were skipped or changed, and what else needs attention.",
        &report.problem_count().to_string(),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use intellistor::agent::Activity;

    #[test]
    fn a_policy_without_a_backup_has_no_success() {
        let status = PolicyStatus {
            policy: "docs".to_owned(),
            activity: Activity::Idle,
            pid: None,
            progress: None,
            job: None,
            last: None,
            logs_to_send: 0,
            retention: None,
            locked_until: None,
            last_backup: None,
        };
        let text = render(&status, Exit::Failed, 1_800_000_000);
        let expected = "\
# HELP intellistor_last_run_timestamp_seconds When the last run ended.
# TYPE intellistor_last_run_timestamp_seconds gauge
intellistor_last_run_timestamp_seconds{policy=\"docs\"} 1800000000
# HELP intellistor_last_run_exit_code The exit code of the last run.
# TYPE intellistor_last_run_exit_code gauge
intellistor_last_run_exit_code{policy=\"docs\"} 1
";
        assert_eq!(text, expected);
    }
}
