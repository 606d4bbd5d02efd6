//! What can be wrong with a schedule, and what a scheduler may refuse.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Category;
use crate::policy::PolicyError;

/// The result of everything in this room.
pub type Result<T, E = ScheduleError> = std::result::Result<T, E>;

/// A schedule's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Occurs when the policy's file is not usable.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Occurs when Task Scheduler cannot hold an expression.
    #[error(
        "Task Scheduler cannot keep {cron:?} exactly: its {starts} times of day {days}need {needed} triggers, and a task has at most {most}. Use fewer or evenly spaced times (`*/15`, `8-18/2`), or split the policy in two"
    )]
    TooManyTriggers {
        /// The expression.
        cron: String,
        /// How many times of day it has.
        starts: usize,
        /// For how many kinds of days, when there are several.
        days: &'static str,
        /// How many triggers it needs.
        needed: usize,
        /// How many a task has at most.
        most: usize,
    },
    /// Occurs when a policy's name could not name a task, a unit or a file.
    #[error(
        "{policy_id:?} cannot name a schedule. A policy_id has 1 to 64 characters, only A-Z a-z 0-9 . _ - and begins with a letter or a digit"
    )]
    BadId {
        /// The name.
        policy_id: String,
    },
    /// Occurs when a path or an account's name cannot be handed to the scheduler.
    #[error("{what} {text:?} cannot be scheduled: {reason}")]
    Unusable {
        /// What it is for.
        what: &'static str,
        /// It.
        text: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// Occurs when others could change what is run, or what it is told.
    #[error(
        "{what} {} is not scheduled, since others can write it: {others}. Make it and its parent folders writable only by the account that runs it (`chown`, `chmod go-w`)", path.display()
    )]
    Untrusted {
        /// What it is for.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Which component, and who they are.
        others: intellistor_storage::disk::trust::Untrusted,
    },
    /// Occurs when a file of the schedule cannot be read, written or removed.
    #[error("cannot {action} {}: {source}.{}", path.display(), rights(source))]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Occurs when a program of the system does not do what it was asked.
    #[error("`{command}` failed: {reason}. {hint}")]
    Command {
        /// The command line.
        command: String,
        /// What it said.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// Occurs when a program of the system is not there.
    #[error("`{command}` cannot be run: there is no such program here")]
    NoProgram {
        /// The command line.
        command: String,
    },
    /// Occurs when the system has no scheduler.
    #[error("neither systemd nor cron is available")]
    NoScheduler,
    /// Occurs when Windows refuses.
    #[error("cannot {action}: {message} (0x{code:08X}). {hint}")]
    Windows {
        /// What was tried.
        action: String,
        /// The system's words.
        message: String,
        /// The HRESULT.
        code: u32,
        /// What to do.
        hint: &'static str,
    },
    /// Occurs when a policy has no schedule.
    #[error("policy {policy_id} has no schedule here")]
    NotScheduled {
        /// The policy.
        policy_id: String,
    },
    /// Occurs when a run that was started through the scheduler goes on for longer than one would wait.
    #[error("the run of {policy_id} is still running after {seconds} seconds; it was not stopped")]
    StillRunning {
        /// The policy.
        policy_id: String,
        /// How long one waited.
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
    /// The error's kind.
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
