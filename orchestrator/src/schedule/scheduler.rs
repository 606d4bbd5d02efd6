//! The scheduler of this system: what all backends have in common, and the choice of one.

use std::path::PathBuf;
use std::time::Duration;

use super::backend::SchedulerBackend;
#[cfg(not(windows))]
use super::crontab::Crontab;
use super::entry::{AppliedSchedule, RemovedSchedule, ScheduleEntry, TestRun};
use super::error::Result;
use super::spec::{ScheduleSpec, check_id};
#[cfg(not(windows))]
use super::systemd::Systemd;
#[cfg(windows)]
use super::task_scheduler::TaskScheduler;

/// The scheduler of this system. Calls block.
pub struct Scheduler {
    pub(super) backend: Box<dyn SchedulerBackend>,
}

impl Scheduler {
    /// Task Scheduler on Windows, systemd where it runs, otherwise cron. `state_folder` is the agent's; `user_units` is
    /// where systemd reads units of the user (`$XDG_CONFIG_HOME/systemd/user`), which Windows ignores.
    pub fn of_this_system(state_folder: PathBuf, user_units: PathBuf) -> Self {
        #[cfg(windows)]
        let backend = Box::new(TaskScheduler { folder: state_folder });
        #[cfg(windows)]
        drop(user_units);
        #[cfg(not(windows))]
        let backend: Box<dyn SchedulerBackend> = match Systemd::is_running() {
            true => Box::new(Systemd::new(state_folder, user_units)),
            false => Box::new(Crontab::default()),
        };
        Self { backend }
    }

    /// Makes the policy's schedule, or changes it.
    ///
    /// # Errors
    /// [`ScheduleError`](super::ScheduleError); a policy that had no schedule still has none.
    pub fn apply(&self, spec: &ScheduleSpec) -> Result<AppliedSchedule> {
        spec.check()?;
        self.backend.apply(spec)
    }

    /// Removes the policy's schedule. It is no error when there is none.
    ///
    /// # Errors
    /// [`ScheduleError`](super::ScheduleError), when something is left behind.
    pub fn remove(&self, policy_id: &str) -> Result<RemovedSchedule> {
        check_id(policy_id)?;
        Ok(self.backend.remove(policy_id)?.unwrap_or_else(|| RemovedSchedule {
            policy_id: policy_id.to_owned(),
            removed: false,
            files: Vec::new(),
            notes: Vec::new(),
        }))
    }

    /// The agent's schedules that this account may see, sorted by policy.
    pub fn list(&self) -> Result<Vec<ScheduleEntry>> {
        let mut entries = self.backend.list()?;
        entries.sort_by(|a, b| a.policy_id.cmp(&b.policy_id));
        Ok(entries)
    }

    /// Runs the policy's schedule now, as the scheduler would, and waits for the exit code.
    ///
    /// # Errors
    /// [`ScheduleError::NotScheduled`](super::ScheduleError::NotScheduled),
    /// [`ScheduleError::StillRunning`](super::ScheduleError::StillRunning), or why it did not start.
    pub fn run_now(&self, policy_id: &str, timeout: Duration) -> Result<TestRun> {
        check_id(policy_id)?;
        let exit_code = self.backend.run_now(policy_id, timeout)?;
        Ok(TestRun { policy_id: policy_id.to_owned(), exit_code })
    }
}
