//! What a scheduler backend answers. Serialized as the programs' JSON.

use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, TimeZone};
use serde::{Serialize, Serializer};

use super::scheduled_command::ScheduledCommand;
use crate::cron::Cron;
use crate::zone::Zone;

/// The scheduler that has an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendKind {
    /// Windows Task Scheduler.
    TaskScheduler,
    /// A unit of systemd's system manager.
    Systemd,
    /// A unit of the user's systemd manager.
    SystemdUser,
    /// A line of the user's crontab.
    Crontab,
}

/// A policy's schedule, as its scheduler has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScheduleEntry {
    /// Names the schedule.
    pub policy_id: String,
    /// The expression, where it can be read back.
    pub cron: Option<String>,
    /// RFC 3339, in UTC.
    pub next_run: Option<String>,
    /// When the scheduler started it last, where it records that; RFC 3339, in UTC.
    pub last_run: Option<String>,
    /// The exit code of the last run, where the scheduler records it.
    pub last_result: Option<i32>,
    /// Since when it has these times, where that is known; RFC 3339, in UTC.
    pub since: Option<String>,
    /// Whether it will run.
    pub enabled: bool,
    /// Whether it is running now, where the scheduler reports that.
    pub running: Option<bool>,
    /// `kept` in JSON.
    #[serde(rename = "kept")]
    pub backend: BackendKind,
    /// The task, the unit file or the crontab; `place` in JSON.
    #[serde(rename = "place")]
    pub location: String,
    /// The task that resumes an unfinished job once the machine has started, where that is one of its own; `place_at_boot` in JSON.
    #[serde(rename = "place_at_boot", skip_serializing_if = "Option::is_none")]
    pub boot_location: Option<String>,
    /// The policy's file.
    #[serde(serialize_with = "lossy_if_any")]
    pub policy_path: Option<PathBuf>,
    /// What its next run will not find, and what to do.
    pub missing: Vec<String>,
}

impl ScheduleEntry {
    /// With the files that its command names.
    pub(super) fn of_command(mut self, command: Option<ScheduledCommand>) -> Self {
        self.missing = command.as_ref().map(ScheduledCommand::missing).unwrap_or_default();
        self.policy_path = command.map(|command| command.policy);
        self
    }
}

/// RFC 3339, in UTC, to the second.
pub(super) fn utc<Z: TimeZone>(time: &DateTime<Z>) -> String {
    time.to_utc().to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn lossy_if_any<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(Path::to_string_lossy).serialize(serializer)
}

/// A schedule that was made or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppliedSchedule {
    /// Read back from the scheduler.
    #[serde(flatten)]
    pub schedule: ScheduleEntry,
    /// The next five times, RFC 3339, in UTC.
    pub next_runs: Vec<String>,
    /// The machine's zone, which the schedule follows.
    pub time_zone: String,
    /// Whether the policy had a schedule before.
    pub replaced: bool,
    /// Limits of this scheduler, for people.
    pub notes: Vec<String>,
}

impl AppliedSchedule {
    pub(super) fn new(schedule: ScheduleEntry, cron: &Cron, replaced: bool, notes: Vec<String>) -> Self {
        let zone = Zone::of_this_machine();
        let next_runs = cron.next_five(zone.now()).iter().map(utc).collect();
        Self { schedule, next_runs, time_zone: zone.name, replaced, notes }
    }
}

/// What removing a schedule did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemovedSchedule {
    /// Named the schedule.
    pub policy_id: String,
    /// Whether there was one.
    pub removed: bool,
    /// Files that were deleted.
    pub files: Vec<PathBuf>,
    /// What could not be cleaned up.
    pub notes: Vec<String>,
}

/// A run that was started through the scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestRun {
    /// Named the schedule.
    pub policy_id: String,
    /// The run's own.
    pub exit_code: i32,
}
