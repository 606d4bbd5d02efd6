//! Hooks: commands of the policy that the agent runs around a backup.
//!
//! **In:** lists of arguments, a time for each, variables that say what happened. **Out:** whether they succeeded; what they
//! wrote, in the run's log: the last [`MOST_OUTPUT`](output::MOST_OUTPUT) bytes of each command. **Guarantees:** no shell reads
//! a command; its environment has none of this program's secrets; one that takes too long, or is stopped with the run, is
//! ended with all that it started in its process group (on Windows, with all that `taskkill /T` finds). What has left that
//! group stays. **Blocks:** nothing. **After a crash:** nothing of a hook is recorded, so `before` runs again while files
//! are still to be read, and `after` where the backup exists and its job is not closed. A hook that ran when this program
//! was killed runs on.

mod output;
mod process;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::policy::Hooks;
pub(crate) use process::HookVariables;
use process::{Ended, Stop};

/// What a command that is to clean up gets, once the run is stopped: whatever stops the run waits 10 s.
const LAST_CHANCE: Duration = Duration::from_secs(5);

/// When hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookKind {
    /// Before files are read.
    Before,
    /// After the backup was made.
    After,
    /// After a run that made none.
    OnFailure,
}

impl HookKind {
    /// Its name in policies.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::OnFailure => "on_failure",
        }
    }
}

/// Runs the commands of one kind, in their order. The first `before` that fails is the last; of the others each is run, since
/// they clean up.
///
/// # Errors
/// [`Error::Hook`] for the first that failed; [`Error::Interrupted`] where a `before` was stopped with the run.
pub(crate) async fn run(
    kind: HookKind,
    hooks: &Hooks,
    variables: &HookVariables,
    cancel: &CancellationToken,
) -> Result<()> {
    let commands = match kind {
        HookKind::Before => &hooks.before,
        HookKind::After => &hooks.after,
        HookKind::OnFailure => &hooks.on_failure,
    };
    let mut first_failure = Ok(());
    for command in commands {
        let done = run_one(kind, command, hooks.timeout, variables, cancel).await;
        if kind == HookKind::Before {
            done?;
        } else if first_failure.is_ok() {
            first_failure = done;
        }
    }
    first_failure
}

async fn run_one(
    kind: HookKind,
    command: &[String],
    timeout: Duration,
    variables: &HookVariables,
    cancel: &CancellationToken,
) -> Result<()> {
    let hook = kind.word();
    let program = command.first().map(String::as_str).unwrap_or_default();
    tracing::info!(hook, program, "hook begins");
    let stopped = async {
        cancel.cancelled().await;
        if kind != HookKind::Before {
            tokio::time::sleep(LAST_CHANCE).await;
        }
    };
    let ended = process::run(hook, command, timeout, variables, stopped).await;
    let failed = |reason: String| {
        tracing::error!(hook, program, reason, "hook failed");
        Err(Error::Hook { hook, program: program.to_owned(), reason })
    };
    match ended {
        Ok(Ended::Exited(status)) if status.success() => {
            tracing::info!(hook, program, "hook succeeded");
            Ok(())
        }
        Ok(Ended::Exited(status)) => failed(status.to_string()),
        Ok(Ended::Stopped(Stop::Timeout)) => {
            failed(format!("it took more than {}, and was ended", crate::policy::duration_text(timeout)))
        }
        Ok(Ended::Stopped(Stop::Cancelled)) if kind == HookKind::Before => {
            tracing::warn!(hook, program, "hook was ended, since the run was stopped");
            Err(Error::Interrupted)
        }
        Ok(Ended::Stopped(Stop::Cancelled)) => {
            failed("the run was stopped, and it was ended after 5 s".to_owned())
        }
        Err(error) => failed(format!("it cannot be started: {error}")),
    }
}
