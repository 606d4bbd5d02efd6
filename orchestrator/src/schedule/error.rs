//! What can go wrong with a schedule, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Category;
use crate::policy::PolicyError;

pub type Result<T, E = ScheduleError> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Occurs when the policy's file is not usable.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Occurs when Task Scheduler cannot hold an expression.
    #[error(
        "Task Scheduler cannot run {cron:?} exactly: its {starts} times of day {days}need {needed} triggers, and a task has at most {most}. Use fewer or evenly spaced times (`*/15`, `8-18/2`), or split the policy in two"
    )]
    TooManyTriggers {
        cron: String,
        /// How many times of day it has.
        starts: usize,
        /// For how many kinds of days, when there are several.
        days: &'static str,
        /// How many triggers were found for it.
        needed: usize,
        /// How many a task has at most.
        most: usize,
    },
    /// Occurs when a policy_id cannot be used in the name of a task, a unit and a file.
    #[error(
        "{policy_id:?} is not a valid policy_id: 1 to 64 characters of A-Z a-z 0-9 . _ - that begin with a letter or a digit"
    )]
    BadId { policy_id: String },
    /// Occurs when a path or an account cannot be used by the scheduler.
    #[error("{what} {text:?} cannot be scheduled: {reason}")]
    Unusable {
        /// What it is for.
        what: &'static str,
        text: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// Occurs when others could change what is run, or its settings.
    #[error(
        "{what} {} cannot be scheduled, because others can write to it: {others}. Make it and its parent folders writable only by the account that runs it (`chown`, `chmod go-w`)", path.display()
    )]
    Untrusted {
        /// What it is for.
        what: &'static str,
        path: PathBuf,
        /// The component, and who can write to it.
        others: intellistor_storage::disk::trust::Untrusted,
    },
    /// Occurs when a file of the schedule cannot be read, written or removed.
    #[error("cannot {action} {}: {source}.{}", path.display(), rights(source))]
    File {
        /// What was tried.
        action: &'static str,
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Occurs when a program of the system fails.
    #[error("`{command}` failed: {reason}. {hint}")]
    Command {
        /// The command line.
        command: String,
        /// Its complaint, or how it ended.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// Occurs when a program of the system is not installed.
    #[error("`{command}` cannot be run: the program is not installed. Install it, then run this again")]
    NoProgram {
        /// The command line.
        command: String,
    },
    /// Occurs when the system has no scheduler.
    #[error("neither systemd nor cron is available")]
    NoScheduler,
    /// Occurs when a call of Windows fails.
    #[error("cannot {action}: {message} (0x{code:08X}). {hint}")]
    Windows {
        /// What was tried.
        action: String,
        /// Windows' message.
        message: String,
        /// The HRESULT that Windows returned.
        code: u32,
        /// What to do.
        hint: &'static str,
    },
    /// Occurs when a policy has no schedule.
    #[error("policy {policy_id} has no schedule on this machine")]
    NotScheduled { policy_id: String },
    /// Occurs when a run that was started through the scheduler takes longer than the timeout.
    #[error("the run of {policy_id} has not ended after {seconds} seconds; it was not stopped")]
    StillRunning {
        policy_id: String,
        /// How long it was waited for.
        seconds: u64,
    },
}

fn rights(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::PermissionDenied if cfg!(windows) => {
            " Run it from a console that was opened with \"Run as administrator\""
        }
        std::io::ErrorKind::PermissionDenied => " Run it with sudo, or schedule for your own account",
        _ => " Check the path and the disk, and run it again",
    }
}

impl ScheduleError {
    pub fn category(&self) -> Category {
        match self {
            Self::File { .. }
            | Self::Command { .. }
            | Self::NoProgram { .. }
            | Self::NoScheduler
            | Self::Windows { .. }
            | Self::NotScheduled { .. }
            | Self::StillRunning { .. } => Category::Failed,
            _ => Category::Configuration,
        }
    }

    pub(super) fn still_running(policy_id: &str, timeout: Duration) -> Self {
        Self::StillRunning { policy_id: policy_id.to_owned(), seconds: timeout.as_secs() }
    }

    pub(crate) fn unusable(what: &'static str, text: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unusable { what, text: text.into(), reason: reason.into() }
    }

    pub(crate) fn file(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
