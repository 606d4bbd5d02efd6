//! What a scheduler of the system does for us.

use std::time::Duration;

use super::entry::{AppliedSchedule, RemovedSchedule, ScheduleEntry};
use super::error::Result;
use super::spec::ScheduleSpec;

/// A scheduler of the system. Calls block.
pub(super) trait SchedulerBackend: Send + Sync {
    /// Makes the policy's schedule, or replaces it whole.
    ///
    /// # Errors
    /// After one, a policy that had no schedule still has none.
    fn apply(&self, spec: &ScheduleSpec) -> Result<AppliedSchedule>;

    /// Removes the policy's schedule; `None` when it has none. A run in progress is left to finish.
    ///
    /// # Errors
    /// After one, something may be left behind; removing again is safe.
    fn remove(&self, policy_id: &str) -> Result<Option<RemovedSchedule>>;

    /// The agent's schedules that this account may see, in any order.
    fn list(&self) -> Result<Vec<ScheduleEntry>>;

    /// Starts a run as the scheduler would, and waits for its exit code.
    ///
    /// # Errors
    /// [`ScheduleError::NotScheduled`](super::ScheduleError::NotScheduled), or
    /// [`ScheduleError::StillRunning`](super::ScheduleError::StillRunning) after `timeout`; the run is not stopped.
    fn run_now(&self, policy_id: &str, timeout: Duration) -> Result<i32>;
}
