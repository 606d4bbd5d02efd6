//! The policy's commands around a job, and what they know of it.
//!
//! **In:** the job and its outcome. **Out:** an error that stops the run (`before`), a warning with exit code 3 (`after`), a
//! notice (`on_failure`). **After a crash:** see [`hooks`](crate::hooks).

use intellistor_storage::state::Ledger;
use intellistor_storage::state::job::JobEvent;
use tokio_util::sync::CancellationToken;

use crate::advice::with_advice;
use crate::error::{Error, Result};
use crate::hooks::{HookKind, HookVariables, run};
use crate::operations::report::BackupReport;
use crate::policy::Policy;

/// Characters of an error: the system limits what an environment may hold.
const MOST_ERROR: usize = 1000;

/// # Errors
/// `Hook`, and `Interrupted` where the run was stopped.
pub(super) async fn before(policy: &Policy, ledger: &Ledger, cancel: &CancellationToken) -> Result<()> {
    let Some(hooks) = &policy.hooks else { return Ok(()) };
    run(HookKind::Before, hooks, &variables(policy, ledger), cancel).await
}

/// A failure becomes a warning of the backup.
///
/// # Errors
/// Those of the state.
pub(super) async fn after(
    policy: &Policy,
    ledger: &Ledger,
    backup: &mut BackupReport,
    cancel: &CancellationToken,
) -> Result<()> {
    let Some(hooks) = &policy.hooks else { return Ok(()) };
    let mut variables = variables(policy, ledger);
    let result = if backup.is_complete() { "success" } else { "warnings" };
    variables.push(("RESULT", result.to_owned()));
    variables.push(("KEY_BACKUP", backup.key_backup.clone()));
    if let Err(error) = run(HookKind::After, hooks, &variables, cancel).await {
        let warning = error.to_string();
        if !backup.warnings.contains(&warning) {
            backup.warnings.push(warning);
        }
        ledger.advance(JobEvent::AttentionNeeded)?;
        ledger.set_summary(backup)?;
    }
    Ok(())
}

/// Answers what failed.
pub(super) async fn on_failure(
    policy: &Policy,
    ledger: &Ledger,
    error: &Error,
    cancel: &CancellationToken,
) -> Option<String> {
    let hooks = policy.hooks.as_ref()?;
    let mut variables = variables(policy, ledger);
    let result = if cancel.is_cancelled() { "interrupted" } else { "failed" };
    variables.push(("RESULT", result.to_owned()));
    variables.push(("ERROR", with_advice(error).chars().take(MOST_ERROR).collect()));
    let failed = run(HookKind::OnFailure, hooks, &variables, cancel).await.err()?;
    Some(failed.to_string())
}

fn variables(policy: &Policy, ledger: &Ledger) -> HookVariables {
    let name = ledger.job().name;
    vec![("POLICY_ID", policy.policy_id.clone()), ("RUN", name.timestamp), ("BACKUP_ID", name.backup_id)]
}
