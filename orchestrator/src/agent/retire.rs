//! Applies the policy's retention once a backup was made, and deletes what was forgotten long enough ago.
//!
//! **In:** a backup that exists. **Out:** what was forgotten and deleted; every verdict in the run's log. Whatever fails is a
//! warning, never a failure of the backup; the exit code is 3 only where it will fail again until a person acts.
//! **After a crash:** the job's state says that the backup exists, so the next run comes here again before it closes the job.

use chrono::{TimeDelta, Utc};
use intellistor_storage::state::Ledger;
use intellistor_storage::state::job::JobEvent;
use intellistor_storage::{Error as StorageError, StoreErrorKind};
use intellistor_telemetry::metrics;
use intellistor_telemetry::names::span;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use crate::advice::with_advice;
use crate::agent::failure_action::FailureAction;
use crate::agent::job_run::STOP_TIMEOUT;
use crate::agent::setup::RunSetup;
use crate::cron::Cron;
use crate::error::{Error, Result};
use crate::lifecycle::{
    BackupReference, ForgetReport, ForgottenBackup, KnownReferences, RetentionOptions, RetentionOutlook,
    Scope, SweepOptions, SweepReport, apply_retention, sweep,
};
use crate::operations::report::BackupReport;
use crate::operations::root_span::stopped_by;
use crate::zone::Zone;

/// What a run has retired.
#[derive(Debug, Default)]
pub(super) struct Retired {
    pub(super) forgotten: Vec<BackupReference>,
    pub(super) swept: Vec<BackupReference>,
    /// What could not be done now, and is done by a later run.
    pub(super) notices: Vec<String>,
    /// What a person must see to.
    alerts: Vec<String>,
}

/// Forgets and deletes what the policy says. `backup` gets the warnings, and what goes next.
///
/// # Errors
/// Those of the state.
pub(super) async fn retire(
    setup: &RunSetup<'_>,
    ledger: &Ledger,
    backup: &mut BackupReport,
    cancel: &CancellationToken,
) -> Result<Retired> {
    let mut retired = Retired::default();
    let RunSetup { catalog, recipients, policy, home, .. } = setup;
    if policy.retention.is_some() {
        let options = RetentionOptions { made: Some(backup), ..RetentionOptions::default() };
        let applied = unless_cancelled(cancel, apply_retention(catalog, *recipients, policy, options));
        match applied.instrument(info_span!(span::RETENTION)).await {
            Ok(report) => {
                backup.retention = Some(RetentionOutlook::new(&report, policy, next_backup(setup))?);
                retired.forget(report);
            }
            Err(error) => retired.fail("apply the policy's retention", &error),
        }
    }
    if !cancel.is_cancelled() {
        let scope = Scope { catalog, keys: *recipients, policy_id: &policy.policy_id };
        let known = KnownReferences::new(&home.queue_folder(&policy.policy_id));
        let options = SweepOptions {
            dry_run: false,
            prune_after: policy.prune_after,
            cancel: cancel.clone(),
            known: Some(&known),
        };
        let swept = stopped_by(cancel, unless_overdue(cancel, sweep(scope, options)));
        match swept.instrument(info_span!(span::SWEEP)).await {
            Ok(report) => retired.sweep(report),
            // Backups need no right to list, and who asked for no retention need not give it.
            Err(error) if policy.retention.is_none() && is_denied(&error) => {
                tracing::info!(error = with_advice(&error), "cannot look for backups to delete");
            }
            Err(error) => retired.fail("delete forgotten backups", &error),
        }
    }
    metrics::backups_retired(&policy.policy_id, retired.forgotten.len() as u64, retired.swept.len() as u64);
    let new_alerts: Vec<_> =
        retired.alerts.drain(..).filter(|alert| !backup.warnings.contains(alert)).collect();
    if !new_alerts.is_empty() {
        backup.warnings.extend(new_alerts);
        ledger.advance(JobEvent::AttentionNeeded)?;
    }
    ledger.set_summary(backup)?;
    Ok(retired)
}

impl Retired {
    fn forget(&mut self, report: ForgetReport) {
        let reference = |backup: ForgottenBackup| BackupReference {
            backup_id: backup.backup_id,
            timestamp: backup.timestamp,
        };
        self.forgotten = report.forgotten.into_iter().map(reference).collect();
        self.alerts.extend(report.warnings);
    }

    fn sweep(&mut self, report: SweepReport) {
        let SweepReport { deleted, archive_kept, waiting, kept, bytes_freed, warnings, .. } = report;
        tracing::info!(
            deleted = deleted.len(),
            archive_kept = archive_kept.len(),
            waiting = waiting.len(),
            kept = kept.len(),
            bytes_freed,
            "looked for forgotten backups to delete"
        );
        let deleted = deleted.into_iter().map(|swept| (swept.backup_id, swept.timestamp));
        let archive_kept = archive_kept.into_iter().map(|swept| (swept.backup_id, swept.timestamp));
        let swept = deleted.chain(archive_kept);
        self.swept = swept.map(|(backup_id, timestamp)| BackupReference { backup_id, timestamp }).collect();
        self.notices.extend(warnings);
    }

    /// What may pass is tried again by the next run.
    fn fail(&mut self, what: &str, error: &Error) {
        if matches!(error, Error::Interrupted) {
            let notice = format!("interrupted before it could {what} to the end; the next run does the rest");
            tracing::warn!("{notice}");
            self.notices.push(notice);
            return;
        }
        let warning = format!("the backup was made, but this run could not {what}: {}", with_advice(error));
        tracing::warn!("{warning}");
        match FailureAction::of(error) {
            FailureAction::Retry => self.notices.push(warning),
            _ => self.alerts.push(warning),
        }
    }
}

/// Between two backups: what was begun of one is a single request.
async fn unless_cancelled<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    cancel.run_until_cancelled(work).await.unwrap_or(Err(Error::Interrupted))
}

/// The work ends by itself, between two backups, unless the store does not answer.
async fn unless_overdue<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    let overdue = async {
        cancel.cancelled().await;
        tokio::time::sleep(STOP_TIMEOUT).await;
    };
    tokio::select! {
        biased;
        done = work => done,
        () = overdue => Err(Error::Interrupted),
    }
}

/// By the policy's schedule; a day from now where it has none.
fn next_backup(setup: &RunSetup<'_>) -> chrono::DateTime<Utc> {
    let cron = setup.policy.schedule.as_deref().and_then(|text| Cron::parse(text).ok());
    let next = cron.and_then(|cron| cron.next_after(Zone::of_this_machine().now()));
    next.map_or_else(|| Utc::now() + TimeDelta::days(1), |next| next.with_timezone(&Utc))
}

fn is_denied(error: &Error) -> bool {
    matches!(error, Error::Storage(StorageError::Store(store)) if store.kind == StoreErrorKind::AccessDenied)
}
