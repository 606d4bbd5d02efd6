//! Schedules: runs of the agent at the times of a cron expression, by the system's own scheduler.
//!
//! In: a [`ScheduleSpec`]. Out: a task of Windows Task Scheduler, a timer of systemd, or a line of a crontab. It runs
//! at exactly the expression's times, or the expression is refused with the reason. Applying twice changes one
//! schedule; removing leaves nothing behind. All state is the scheduler's, and survives a crash of ours.
//!
//! | module | holds |
//! | --- | --- |
//! | `spec`, `entry`, `error` | what is scheduled, what a scheduler answers, what can go wrong |
//! | `backend` | the trait of a scheduler; `task_scheduler`, `systemd` and `crontab` implement it |
//! | `scheduler` | [`Scheduler`]: what they have in common, and the choice of one |
//! | `rehearsal` | tries what a run needs, as its account |
//! | `scheduled_command` | the files that a schedule needs, read back from its command |
//! | `command`, `plain_path` | Unix: programs of the system; paths that units and crontabs can contain |
//!
//! Complaints of users of a comparable tool (issues of `creativeprojects/resticprofile`):
//!
//! | complaint | here |
//! | --- | --- |
//! | #589, #641: a missed start is never made up for; the setting is lost when applied again | `StartWhenAvailable`, `Persistent=true`: always; every apply writes the whole definition |
//! | #595: does not start on battery, whatever is configured | `DisallowStartIfOnBatteries` and `StopIfGoingOnBatteries` are false |
//! | #155, #199: the account lacks the right to log on as a batch job; "exceptional error" in `UserId` | SYSTEM is the default and needs no right; the error for an account names the right |
//! | #205: "access is denied" when the task first runs | the program must be on a local disk; the wrapper and its folder get an access list that SYSTEM can use; `test-schedule` runs it at once |
//! | #475, #594: highest privileges, S4U | `HighestAvailable` always; an account without password logs on with S4U |
//! | #597: a drive letter that only the user has | network drives are refused; the error names UNC paths |
//! | #633, #644: status does not find tasks, or asks the wrong manager | tasks are readable by all users and found by name prefix; systemd is asked only about unit files that exist |
//! | #442: a wrong password is remembered | none is stored; it is passed to Task Scheduler and zeroed |
//! | #481: "created", but it does not exist | `apply` reports what it read back from the scheduler |
//! | #372, #586: lines that vanish, jobs that remain after a file was renamed | the policy_id alone names a schedule; other lines of a crontab stay byte for byte |

mod backend;
#[cfg(not(windows))]
mod command;
#[cfg(not(windows))]
mod crontab;
mod entry;
mod error;
#[cfg(not(windows))]
mod plain_path;
mod rehearsal;
mod scheduled_command;
mod scheduler;
mod spec;
#[cfg(not(windows))]
mod systemd;
#[cfg(any(windows, test))]
mod task_scheduler;

pub use entry::{AppliedSchedule, BackendKind, RemovedSchedule, ScheduleEntry, TestRun};
pub use error::{Result, ScheduleError};
pub use rehearsal::{Rehearsal, rehearse};
pub use scheduler::Scheduler;
pub use spec::{Password, RunAs, ScheduleSpec};

#[cfg(test)]
mod tests;
