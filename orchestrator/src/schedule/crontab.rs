//! Lines in the crontab of the user, where systemd does not run.
//!
//! In: the crontab, as `crontab -l` prints it. Out: the same bytes with two lines added, replaced or removed, through
//! `crontab -`: one with the times, one for the start of the machine (`@reboot`). Each ends in `# intellistor-agent <policy_id>`, a comment to the shell, by which it is found again.
//!
//! Limits of cron: a start that was missed while the machine was off is not made up for, a run that failed is not tried
//! again before its next time, and exit codes are not recorded.
//! It mails what a run writes to standard error. It has no locks: of two edits at the same moment one may be lost.

mod table;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::backend::SchedulerBackend;
use super::command::{PROMPT, QUESTION, SystemCommand};
use super::entry::{AppliedSchedule, BackendKind, RemovedSchedule, ScheduleEntry, utc};
use super::error::{Result, ScheduleError};
use super::scheduled_command::{Dialect, ScheduledCommand};
use super::spec::{RunAs, ScheduleSpec};
use crate::cron::Cron;
use crate::zone::Zone;
use table::{command, cron_tz, edited, lines, schedules};

const HINT: &str = "Check that cron is installed and that you may use it (/etc/cron.allow, /etc/cron.deny)";

/// The directory and the variables that cron gives a command. A test run with more would succeed where the scheduled
/// run fails.
const AS_CRON: &str = r#"cd "$HOME" &&
    exec env -i HOME="$HOME" LOGNAME="$(id -un)" PATH=/usr/bin:/bin SHELL=/bin/sh /bin/sh -c "$1""#;

/// The crontab of this user.
#[derive(Debug)]
pub(super) struct Crontab {
    /// Where to look `crontab` up, instead of this process's `PATH`.
    search_path: Option<OsString>,
    /// Where Linux lists processes.
    processes: PathBuf,
}

impl Default for Crontab {
    fn default() -> Self {
        Self { search_path: None, processes: PathBuf::from("/proc") }
    }
}

impl SchedulerBackend for Crontab {
    fn apply(&self, spec: &ScheduleSpec) -> Result<AppliedSchedule> {
        match &spec.run_as {
            RunAs::User { name, .. } => {
                let reason =
                    "a crontab belongs to one user. Log in as that user and schedule for your own account";
                return Err(ScheduleError::unusable("the account", name, reason));
            }
            RunAs::System if !rustix::process::geteuid().is_root() => {
                let reason =
                    "only root may write root's crontab. Run it with sudo, or schedule for your own account";
                return Err(ScheduleError::unusable("the account", "root", reason));
            }
            RunAs::System | RunAs::Caller => {}
        }
        let lines = lines(spec)?;
        let old = self.read(PROMPT)?;
        let (new, found) = edited(&old, &spec.policy_id, Some(&lines));
        self.write(&old, &new)?;
        let mut notes = vec![
            "cron does not make up for a start that was missed while the machine was off, and does not try again what failed"
                .to_owned(),
        ];
        notes.extend(cron_tz(&new).map(|zone| {
            format!(
                "the crontab sets CRON_TZ to {zone}: cronie runs the lines after it in that zone, other crons in the machine's"
            )
        }));
        if runs_cron(&self.processes) == Some(false) {
            notes.push(
                "no cron is running on this machine, so nothing will start this schedule. Start it (`service cron \
                 start`, `crond`), or use `intellistor-agent serve`, which needs none"
                    .to_owned(),
            );
        }
        let entry = entry(&new, &spec.policy_id, Some(&spec.cron));
        Ok(AppliedSchedule::new(entry, &spec.cron, found > 0, notes))
    }

    fn remove(&self, policy_id: &str) -> Result<Option<RemovedSchedule>> {
        let Some(old) = self.read_if_installed(PROMPT)? else { return Ok(None) };
        let (new, found) = edited(&old, policy_id, None);
        self.write(&old, &new)?;
        Ok((found > 0).then(|| RemovedSchedule {
            policy_id: policy_id.to_owned(),
            removed: true,
            files: Vec::new(),
            notes: Vec::new(),
        }))
    }

    fn list(&self) -> Result<Vec<ScheduleEntry>> {
        let table = self.read_if_installed(QUESTION)?.unwrap_or_default();
        Ok(schedules(&table).map(|(id, cron)| entry(&table, id, cron.as_ref())).collect())
    }

    fn run_now(&self, policy_id: &str, timeout: Duration) -> Result<i32> {
        let Some(command) = command(&self.read(PROMPT)?, policy_id) else {
            return Err(ScheduleError::NotScheduled { policy_id: policy_id.to_owned() });
        };
        let run = SystemCommand::new(["/bin/sh", "-c", AS_CRON, "sh", &command]);
        let output = run.run_for(timeout)?.ok_or_else(|| ScheduleError::still_running(policy_id, timeout))?;
        output.code.ok_or_else(|| run.failed(output.reason(), "Run the agent by hand to see why"))
    }
}

impl Crontab {
    fn command(&self, argument: &str) -> SystemCommand {
        SystemCommand::new(["crontab", argument]).search_path(self.search_path.clone())
    }

    /// The crontab's bytes. Only the answer that there is none counts as an empty one: after any other failure, writing
    /// would erase what is there.
    fn read(&self, time_limit: Duration) -> Result<Vec<u8>> {
        let command = self.command("-l");
        let output = command.ask(time_limit).map_err(|error| match error {
            ScheduleError::NoProgram { .. } => ScheduleError::NoScheduler,
            other => other,
        })?;
        let complaint = &output.stderr;
        let is_missing = complaint.contains("no crontab for")
            || (complaint.contains("can't open") && complaint.contains("No such file or directory"));
        match output.code {
            Some(0) => Ok(output.stdout),
            Some(_) if is_missing && output.stdout.is_empty() => Ok(Vec::new()),
            _ => Err(command.failed(output.reason(), HINT)),
        }
    }

    /// `None` where cron is not installed.
    fn read_if_installed(&self, time_limit: Duration) -> Result<Option<Vec<u8>>> {
        match self.read(time_limit) {
            Err(ScheduleError::NoScheduler) => Ok(None),
            other => other.map(Some),
        }
    }

    fn write(&self, old: &[u8], new: &[u8]) -> Result<()> {
        if old == new {
            return Ok(());
        }
        let command = if new.is_empty() { self.command("-r") } else { self.command("-").input(new) };
        let output = command.run()?;
        if output.succeeded() { Ok(()) } else { Err(command.failed(output.reason(), HINT)) }
    }
}

/// Whether a program that reads crontabs is running. `None` where not all processes can be seen.
fn runs_cron(processes: &Path) -> Option<bool> {
    /// Debian's, cronie's and BusyBox's, and others that read the same crontabs.
    const NAMES: [&str; 5] = ["cron", "crond", "fcron", "bcron-sched", "systemd-cron"];
    let name_of = |process: &Path| fs::read_to_string(process.join("comm")).ok();
    // With hidepid, root's processes, such as 1 and cron, cannot be seen.
    name_of(&processes.join("1"))?;
    let all = fs::read_dir(processes).ok()?.filter_map(|process| name_of(&process.ok()?.path()));
    Some(all.into_iter().any(|name| NAMES.contains(&name.trim_end())))
}

fn entry(table: &[u8], policy_id: &str, cron: Option<&Cron>) -> ScheduleEntry {
    let command = command(table, policy_id);
    let command = command.and_then(|line| ScheduledCommand::parse(&line, Dialect::Shell));
    let entry = ScheduleEntry {
        policy_id: policy_id.to_owned(),
        cron: cron.map(Cron::to_string),
        next_run: cron.and_then(|cron| cron.next_after(Zone::of_this_machine().now())).map(|time| utc(&time)),
        last_run: None,
        last_result: None,
        since: None,
        enabled: true,
        running: None,
        backend: BackendKind::Crontab,
        location: "the crontab of this user (`crontab -l`)".to_owned(),
        boot_location: None,
        policy_path: None,
        missing: Vec::new(),
    };
    entry.of_command(command)
}

#[cfg(test)]
mod tests;
