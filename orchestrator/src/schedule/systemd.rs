//! Service and timer units of systemd's system manager, or of the user's manager.
//!
//! In: a [`ScheduleSpec`]. Out: `intellistor-agent-<policy_id>.{service,timer}`, and
//! `intellistor-agent-<policy_id>:boot.{service,timer}` in the unit folder, loaded and enabled; each file is written whole or not at all, and replaced when applied again. A policy has units of one manager
//! only.
//!
//! | setting | why |
//! | --- | --- |
//! | `OnCalendar=` | the cron expression exactly; two lines when a day of the month *or* a weekday matches. `tests.rs` compares with `systemd-analyze` |
//! | `Persistent=true` | a start that was missed while the machine was off is made up for |
//! | `RandomizedDelaySec=0`, `AccuracySec=1s` | at the exact minute |
//! | `Type=oneshot` | systemd never starts a second run beside an active one |
//! | `TimeoutStartSec=72h` | as on Windows: a run that hangs must not silently prevent all later ones |
//! | `KillSignal=SIGINT` | the agent keeps its state and resumes, as after Ctrl-C |
//! | `Restart=on-failure`, `RestartSec=10min`, at most 3 times | a store that was down for a while costs no night. Not where the next start is less than two hours away, which is soon enough; not with systemd before 244, which refuses it |
//! | `StartLimitIntervalSec=` | an hour less than the time between two starts, so that no scheduled start meets the limit |
//! | `RestartPreventExitStatus=2 4 5` | a wrong configuration and damage stay until a person acts; another run is active already |
//! | `OnBootSec=5min` of `:boot.timer` | a job that a stop of the machine interrupted is resumed: `run --only-unfinished`, which ends at once where there is none. A unit that the start of the machine itself waited for would hold it up for hours |
//! | `Nice=10`, `IOSchedulingClass=idle` | a backup stays out of the way |
//! | `SuccessExitStatus=3` | 3 is a finished backup that skipped entries; a unit that fails every night for one open file would be ignored. The code stays visible in `list-schedules`, the log and the manifest |
//!
//! A run's working directory is the agent's folder; another account may not enter that, so its runs get systemd's default.
//! Units of a user run while that user is logged in, unless lingering is enabled (`loginctl enable-linger`), which is
//! left to the user. Times are local; a time that a clock change skips is skipped on that day.

mod manager;
mod units;

use std::path::{Path, PathBuf};
use std::time::Duration;

use intellistor_storage::create_private_folder;
use intellistor_storage::disk::trust;

use super::backend::SchedulerBackend;
use super::entry::{AppliedSchedule, RemovedSchedule, ScheduleEntry};
use super::error::{Result, ScheduleError};
use super::spec::{RunAs, ScheduleSpec};
pub(super) use manager::Manager;

/// Both managers of a machine.
pub(super) struct Systemd {
    pub(super) system: Manager,
    pub(super) user: Manager,
    /// The agent's: where runs start.
    pub(super) state_folder: PathBuf,
}

impl Systemd {
    /// As sd_booted(3) decides it.
    pub(super) fn is_running() -> bool {
        Path::new("/run/systemd/system").is_dir()
    }

    pub(super) fn new(state_folder: PathBuf, user_units: PathBuf) -> Self {
        Self {
            system: Manager::system(PathBuf::from("/etc/systemd/system")),
            user: Manager::user(user_units),
            state_folder,
        }
    }

    fn create_state_folder(&self) -> Result<()> {
        let folder = &self.state_folder;
        let check = || {
            trust::check_folder(folder).map_err(|others| ScheduleError::Untrusted {
                what: "the agent's folder",
                path: folder.clone(),
                others,
            })
        };
        check()?;
        create_private_folder(folder).map_err(ScheduleError::file("create", folder))?;
        check()
    }
}

impl SchedulerBackend for Systemd {
    fn apply(&self, spec: &ScheduleSpec) -> Result<AppliedSchedule> {
        let (manager, other) = match spec.run_as {
            RunAs::Caller => (&self.user, &self.system),
            RunAs::System | RunAs::User { .. } => (&self.system, &self.user),
        };
        self.create_state_folder()?;
        let mut applied = manager.apply(spec, &self.state_folder)?;
        match other.remove(&spec.policy_id) {
            Ok(None) => {}
            Ok(Some(_)) => applied.replaced = true,
            Err(error) => applied.notes.push(format!(
                "an older schedule of this policy is still in {}: {error}",
                other.folder.display()
            )),
        }
        Ok(applied)
    }

    fn remove(&self, policy_id: &str) -> Result<Option<RemovedSchedule>> {
        // From both: moving a schedule from one manager to the other may have been interrupted.
        let user = self.user.remove(policy_id)?;
        let system = self.system.remove(policy_id)?;
        Ok(user.into_iter().chain(system).reduce(|mut all, more| {
            all.files.extend(more.files);
            all.notes.extend(more.notes);
            all
        }))
    }

    fn list(&self) -> Result<Vec<ScheduleEntry>> {
        Ok([self.system.list()?, self.user.list()?].concat())
    }

    fn run_now(&self, policy_id: &str, timeout: Duration) -> Result<i32> {
        match [&self.user, &self.system].into_iter().find(|manager| manager.has(policy_id)) {
            Some(manager) => manager.run_now(policy_id, timeout),
            None => Err(ScheduleError::NotScheduled { policy_id: policy_id.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests;
