//! One manager of units, and our units in its folder.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use intellistor_storage::catalog::layout::is_policy_id;
use intellistor_storage::disk::whole_file;

use super::units::{Occasion, boot_timer_unit, cron_of, service_unit, timer_unit};
use crate::cron::Cron;
use crate::schedule::command::{CommandOutput, PROMPT, QUESTION, SystemCommand};
use crate::schedule::entry::{AppliedSchedule, BackendKind, RemovedSchedule, ScheduleEntry, utc};
use crate::schedule::error::{Result, ScheduleError};
use crate::schedule::scheduled_command::{Dialect, ScheduledCommand};
use crate::schedule::spec::ScheduleSpec;
use crate::zone::Zone;

const PREFIX: &str = "intellistor-agent-";
const HINT: &str = "See `systemctl status` and `journalctl -u` of the unit; a system unit needs sudo";

/// systemd's system manager, or the user's.
#[derive(Debug, Clone)]
pub(crate) struct Manager {
    kind: BackendKind,
    /// Where it reads unit files.
    pub(crate) folder: PathBuf,
    /// Where to look `systemctl` up, instead of this process's `PATH`.
    pub(crate) search_path: Option<OsString>,
}

/// The first systemd that restarts units of `Type=oneshot`; earlier ones refuse a unit that asks for it.
const RESTARTS_ONESHOT: u32 = 244;

/// `intellistor-agent-<policy_id>.<kind>`, and `intellistor-agent-<policy_id>:boot.<kind>`: no policy_id has a colon, so that
/// no other policy's unit has that name.
fn unit(policy_id: &str, kind: &str) -> String {
    let separator = if kind.starts_with("boot.") { ':' } else { '.' };
    format!("{PREFIX}{policy_id}{separator}{kind}")
}

impl Manager {
    pub(crate) fn system(folder: PathBuf) -> Self {
        Self { kind: BackendKind::Systemd, folder, search_path: None }
    }

    pub(crate) fn user(folder: PathBuf) -> Self {
        Self { kind: BackendKind::SystemdUser, folder, search_path: None }
    }

    fn is_user(&self) -> bool {
        self.kind == BackendKind::SystemdUser
    }

    /// Writes the units, loads them and starts the timer.
    pub(super) fn apply(&self, spec: &ScheduleSpec, state_folder: &Path) -> Result<AppliedSchedule> {
        let can_restart = self.version()?.is_none_or(|version| version >= RESTARTS_ONESHOT);
        let texts = [
            service_unit(spec, state_folder, Occasion::Scheduled, can_restart)?,
            timer_unit(spec),
            service_unit(spec, state_folder, Occasion::Boot, can_restart)?,
            boot_timer_unit(spec),
        ];
        let files = self.files(&spec.policy_id);
        let replaced = self.has(&spec.policy_id);
        fs::create_dir_all(&self.folder).map_err(ScheduleError::file("create", &self.folder))?;
        let mut written = files.iter().zip(&texts).map(|(file, text)| write_whole(file, text));
        let made = written.try_for_each(|written| written).and_then(|()| self.start(&spec.policy_id));
        if let Err(error) = made {
            if !replaced {
                for file in &files {
                    // The first error is the one to report.
                    let _ = fs::remove_file(file);
                }
            }
            return Err(error);
        }
        let mut notes = Vec::new();
        if !can_restart {
            notes.push(format!(
                "a run that fails is not tried again before its next start: this systemd is older than {RESTARTS_ONESHOT}"
            ));
        }
        if self.is_user() {
            notes.push(
                "runs only while you are logged in; `loginctl enable-linger` keeps your timers running"
                    .to_owned(),
            );
        }
        let entry = self.entry(&spec.policy_id, Some(&spec.cron), PROMPT)?;
        Ok(AppliedSchedule::new(entry, &spec.cron, replaced, notes))
    }

    fn start(&self, policy_id: &str) -> Result<()> {
        let (timer, boot_timer) = (unit(policy_id, "timer"), unit(policy_id, "boot.timer"));
        self.systemctl(&["daemon-reload"])?;
        // The timer of the machine's start is not started now: its time has passed, and it would elapse at once.
        self.systemctl(&["enable", &timer, &boot_timer])?;
        // An active timer takes new times only when it is restarted.
        self.systemctl(&["restart", &timer]).map(drop)
    }

    /// The number of systemd's version; `None` where it does not say.
    fn version(&self) -> Result<Option<u32>> {
        let shown = self.systemctl(&["--version"])?;
        let text = String::from_utf8_lossy(&shown.stdout);
        Ok(text.strip_prefix("systemd ").and_then(|rest| rest.split_whitespace().next()?.parse().ok()))
    }

    /// Stops and removes the units, with systemd's record of the last start.
    pub(super) fn remove(&self, policy_id: &str) -> Result<Option<RemovedSchedule>> {
        let files: Vec<PathBuf> = self.files(policy_id).into_iter().filter(|file| file.exists()).collect();
        if files.is_empty() {
            return Ok(None);
        }
        let timer = unit(policy_id, "timer");
        let boot_timer = unit(policy_id, "boot.timer");
        // A schedule of an earlier version has none of the machine's start.
        let is_there = |name: &&str| self.folder.join(name).exists();
        let timers: Vec<&str> = [timer.as_str(), &boot_timer].into_iter().filter(is_there).collect();
        if !timers.is_empty() {
            self.systemctl(&[&["disable", "--now"], &timers[..]].concat())?;
        }
        let mut notes = Vec::new();
        if let Err(error) = self.systemctl(&["clean", "--what=state", &timer]) {
            notes.push(format!("systemd still has the time of the last start: {error}"));
        }
        for file in &files {
            match fs::remove_file(file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(ScheduleError::file("remove", file)(error));
                }
                _ => {}
            }
        }
        self.systemctl(&["daemon-reload"])?;
        Ok(Some(RemovedSchedule { policy_id: policy_id.to_owned(), removed: true, files, notes }))
    }

    /// Our timers in the unit folder, sorted by policy. systemd is asked only about those.
    pub(super) fn list(&self) -> Result<Vec<ScheduleEntry>> {
        let unreadable = || ScheduleError::file("read", &self.folder);
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(unreadable())?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(unreadable())?.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(".timer"));
            ids.extend(id.filter(|id| is_policy_id(id)).map(str::to_owned));
        }
        ids.sort();
        ids.iter()
            .map(|id| {
                let [_, timer, ..] = self.files(id);
                let text = fs::read_to_string(&timer).map_err(ScheduleError::file("read", &timer))?;
                self.entry(id, cron_of(&text).as_ref(), QUESTION)
            })
            .collect()
    }

    /// Whether the policy has a timer here.
    pub(super) fn has(&self, policy_id: &str) -> bool {
        self.files(policy_id)[1].exists()
    }

    /// Starts the service as the timer would and waits for its exit code.
    pub(super) fn run_now(&self, policy_id: &str, timeout: Duration) -> Result<i32> {
        let service = unit(policy_id, "service");
        // Runs of before may have used up its starts. A unit that has not failed is none to reset.
        let _ = self.command(&["reset-failed", &service]).run();
        let command = self.command(&["start", "--wait", &service]);
        let Some(output) = command.run_for(timeout)? else {
            return Err(ScheduleError::still_running(policy_id, timeout));
        };
        // `start` fails with its own code when the run does; only the service has the run's.
        match self.last_run(policy_id, PROMPT)?.1 {
            Some(code) if output.succeeded() || code != 0 => Ok(code),
            _ => Err(command.failed(output.reason(), HINT)),
        }
    }

    fn command(&self, arguments: &[&str]) -> SystemCommand {
        let systemctl: &[&str] = if self.is_user() { &["systemctl", "--user"] } else { &["systemctl"] };
        SystemCommand::new(systemctl.iter().chain(arguments)).search_path(self.search_path.clone())
    }

    fn systemctl(&self, arguments: &[&str]) -> Result<CommandOutput> {
        let command = self.command(arguments);
        let output = command.run()?;
        if output.succeeded() { Ok(output) } else { Err(command.failed(output.reason(), HINT)) }
    }

    /// The values of a unit's properties, times in UTC; `None` for one that systemd does not print.
    fn properties(&self, unit: &str, names: &[&str], time_limit: Duration) -> Result<Vec<Option<String>>> {
        let command = self.command(&["show", &format!("--property={}", names.join(",")), unit]);
        let command = command.variable("TZ", "UTC");
        let shown = command.ask(time_limit)?;
        if !shown.succeeded() {
            return Err(command.failed(shown.reason(), HINT));
        }
        let text = String::from_utf8_lossy(&shown.stdout);
        let value = |name: &&str| {
            text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
        };
        Ok(names.iter().map(value).collect())
    }

    /// The service's file and the timer's; and those of the machine's start.
    fn files(&self, policy_id: &str) -> [PathBuf; 4] {
        ["service", "timer", "boot.service", "boot.timer"].map(|kind| self.folder.join(unit(policy_id, kind)))
    }

    fn entry(&self, policy_id: &str, cron: Option<&Cron>, time_limit: Duration) -> Result<ScheduleEntry> {
        let state = self.properties(&unit(policy_id, "timer"), &["ActiveState"], time_limit)?;
        let is_active = state == [Some("active".to_owned())];
        let next = cron.filter(|_| is_active).and_then(|cron| cron.next_after(Zone::of_this_machine().now()));
        let [service, timer, ..] = self.files(policy_id);
        let (last_run, last_result) = self.last_run(policy_id, time_limit)?;
        let changed = fs::metadata(&timer).and_then(|timer| timer.modified()).ok();
        let text = fs::read_to_string(&service).unwrap_or_default();
        let command = text.lines().find_map(|line| line.strip_prefix("ExecStart="));
        let entry = ScheduleEntry {
            policy_id: policy_id.to_owned(),
            cron: cron.map(Cron::to_string),
            next_run: next.map(|time| utc(&time)),
            last_run: last_run.map(|time| utc(&time)),
            last_result,
            since: changed.map(|changed| utc(&DateTime::<Utc>::from(changed))),
            enabled: is_active,
            running: None,
            backend: self.kind,
            location: timer.display().to_string(),
            boot_location: None,
            policy_path: None,
            missing: Vec::new(),
        };
        Ok(entry.of_command(command.and_then(|line| ScheduledCommand::parse(line, Dialect::Unit))))
    }

    /// When the last run began and its exit code, if there was one since the machine started.
    fn last_run(
        &self,
        policy_id: &str,
        time_limit: Duration,
    ) -> Result<(Option<DateTime<Utc>>, Option<i32>)> {
        let names = ["ExecMainStatus", "ExecMainExitTimestampMonotonic", "ExecMainStartTimestamp"];
        let values = self.properties(&unit(policy_id, "service"), &names, time_limit)?;
        let [Some(code), Some(ended), began] = &values[..] else { return Ok((None, None)) };
        if ended == "0" {
            return Ok((None, None));
        }
        Ok((began.as_deref().and_then(time_of), code.parse().ok()))
    }
}

/// A time as `systemctl` prints it in UTC: `Fri 2026-11-27 02:00:03 UTC`.
fn time_of(text: &str) -> Option<DateTime<Utc>> {
    Some(NaiveDateTime::parse_from_str(text, "%a %Y-%m-%d %H:%M:%S UTC").ok()?.and_utc())
}

/// systemd may read a unit file at any moment.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    whole_file::replace(path, text.as_bytes()).map_err(ScheduleError::file("write", path))
}
