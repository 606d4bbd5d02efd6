//! Schedules: runs of the agent at the times of a cron expression, kept by the system's own scheduler.
//!
//! In: a [`ScheduleSpec`]. Out: a task of Windows' Task Scheduler, a timer of systemd, or a line of a crontab. It runs
//! at exactly the expression's times, or the expression is refused with the reason. Applying twice changes one
//! schedule; removing leaves nothing behind. Nothing of ours stays in memory: what the system keeps survives a crash.
//!
//! | room | holds |
//! | --- | --- |
//! | `cron` | the expression |
//! | `triggers`, `task_xml`, `wrapper` | Windows: when, how, and what is run; tested everywhere |
//! | `task_scheduler`, `access` | Windows: COM, and who may write where |
//! | `systemd`, `crontab` | Linux |
//! | `runner`, `zone` | Linux: programs of the system; in which zone they read a schedule |
//!
//! [`Scheduler`] chooses. Its calls block, and on Windows use a thread of their own.
//!
//! What users of schedulers beside backup tools complained of (issues of `creativeprojects/resticprofile`):
//!
//! | complaint | what is done here |
//! | --- | --- |
//! | #589, #641: a start that is missed is never made up for; the setting is lost when applied again | `StartWhenAvailable`, `Persistent=true`: always, in the definition that every apply writes whole |
//! | #595: does not start on battery, whatever is configured | `DisallowStartIfOnBatteries` and `StopIfGoingOnBatteries` are false |
//! | #155, #199: the account lacks the right to log on as a batch job; "exceptional error" in `UserId` | SYSTEM is the default and needs no right; the error for an account names the right |
//! | #205: "access is denied" when the task first runs | the program must lie on a local disk; the wrapper and its folder get an access list that SYSTEM can use; `test-schedule` runs it at once |
//! | #475, #594: highest privileges, S4U | `HighestAvailable` always; an account without password logs on with S4U |
//! | #597: a drive letter that only the user has | refused for SYSTEM when it is a network drive; UNC paths are named instead |
//! | #633, #644: status does not find tasks, or asks the wrong manager | tasks are readable by all users and found by name prefix; systemd is asked only where unit files lie |
//! | #442: a wrong password is remembered | none is stored here; it goes to Task Scheduler and is forgotten |
//! | #481: "created", and nothing is there | what is told after `apply` was read back from the scheduler |
//! | #372, #586: lines that vanish, jobs that stay when a file was renamed | the policy_id alone names a schedule; other lines of a crontab stay byte for byte |

mod backend;
#[cfg(not(windows))]
mod command;
#[cfg(not(windows))]
mod crontab;
mod entry;
mod error;
#[cfg(not(windows))]
mod plain_path;
mod scheduler;
mod spec;
#[cfg(not(windows))]
mod systemd;
#[cfg(any(windows, test))]
mod task_scheduler;

pub use entry::{AppliedSchedule, BackendKind, RemovedSchedule, ScheduleEntry, TestRun};
pub use error::{Result, ScheduleError};
pub use scheduler::Scheduler;
pub use spec::{Password, RunAs, ScheduleSpec};

#[cfg(test)]
mod tests;
