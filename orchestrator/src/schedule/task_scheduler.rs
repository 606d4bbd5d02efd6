//! Windows Task Scheduler, through its COM interfaces.
//!
//! In: a [`ScheduleSpec`]. Out: the protected folder, the wrapper in it, the tasks `IntellistorAgent - <policy_id>` and, for the
//! start of the machine, `IntellistorAgent - <policy_id> (boot)`, which no policy_id can be taken for;
//! registered whole ("create or update"), so applying again changes these tasks and all their settings.
//!
//! | module | holds |
//! | --- | --- |
//! | `triggers`, `task_xml`, `wrapper` | when, how, and what is run: pure, and tested on every system |
//! | `logon` | how the account of a task logs on, and which names can: pure |
//! | `backend`, `com` | the work, and the COM calls |
//! | `access`, `account`, `windows_error` | who may write the folder; who the caller is; what errors mean |

#[cfg(windows)]
mod access;
#[cfg(windows)]
mod account;
#[cfg(windows)]
mod backend;
#[cfg(windows)]
mod com;
mod logon;
mod task_xml;
pub(super) mod triggers;
#[cfg(windows)]
mod windows_error;
mod wrapper;

#[cfg(windows)]
pub(super) use backend::TaskScheduler;
