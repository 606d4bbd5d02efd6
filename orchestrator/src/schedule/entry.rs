//! What a scheduler backend answers. Serialized as the programs' JSON.

use std::path::PathBuf;

use serde::Serialize;

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
    /// RFC 3339, in local time.
    pub next_run: Option<String>,
    /// The exit code of the last run, where the scheduler records it.
    pub last_result: Option<i32>,
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
}

/// A schedule that was made or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppliedSchedule {
    /// Read back from the scheduler.
    #[serde(flatten)]
    pub schedule: ScheduleEntry,
    /// The next five times, RFC 3339.
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
        let next_runs = cron.next_five(zone.now()).iter().map(|time| time.to_rfc3339()).collect();
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
