//! What the outcome of a run means for its job: closed with a backup, kept for the next run, or ended without one.
//!
//! **In:** the outcome. **Out:** the job's state, the log's key, and the backup or the error. **After a crash:** an
//! outcome that was not recorded is found again by the next run.

use intellistor_storage::state::job::JobEvent;
use intellistor_storage::state::{Ledger, Queue};
use intellistor_telemetry::console::RUN_END;

use crate::advice::with_advice;
use crate::agent::abandon::abandon;
use crate::agent::close::{close, close_overtaken};
use crate::agent::failure_action::FailureAction;
use crate::agent::job_run::JobOutcome;
use crate::agent::log::AgentLog;
use crate::agent::ship_logs::ship;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::report::BackupReport;

pub(super) struct Settled {
    /// The job's state, by name.
    pub(super) state: &'static str,
    pub(super) log_key: Option<String>,
    pub(super) outcome: Result<BackupReport>,
}

pub(super) async fn settle(
    queue: &mut Queue,
    ledger: Ledger,
    log: &AgentLog,
    catalog: &Catalog,
    outcome: JobOutcome,
    cancel_requested: bool,
) -> Result<Settled> {
    let (action, error) = match outcome {
        JobOutcome::Published(report) => {
            let (state, log_key) = close(queue, ledger, log, catalog).await?;
            return Ok(Settled { state, log_key, outcome: Ok(*report) });
        }
        JobOutcome::Stopped(action, _) if cancel_requested => (action, Error::Cancelled),
        JobOutcome::Stopped(action, error) => (action, error),
    };
    record(&ledger, &error);
    let (state, log_key) = match end_event(action, &error, &ledger, cancel_requested) {
        None => pause(queue, ledger, log, catalog, &error).await,
        Some(event) => {
            tracing::error!(target: RUN_END, error = with_advice(&error), "the job ends without a backup");
            if matches!(error, Error::Overtaken { .. }) {
                ledger.advance(event)?;
                (close_overtaken(queue, ledger)?, None)
            } else {
                abandon(&ledger, catalog, event).await?;
                close(queue, ledger, log, catalog).await?
            }
        }
    };
    Ok(Settled { state, log_key, outcome: Err(error) })
}

/// Records why the run stopped. Where that cannot be written, the error itself is what matters.
fn record(ledger: &Ledger, error: &Error) {
    let recorded = ledger.update(|job| {
        job.last_error = Some(with_advice(error));
        // This process lives, and sends its root span itself.
        job.run_span.iter_mut().for_each(|run| run.ended = true);
    });
    if let Err(error) = recorded {
        tracing::warn!(%error, "cannot record why the run stopped");
    }
}

/// How the job ends; `None` where the next run resumes it.
fn end_event(
    action: FailureAction,
    error: &Error,
    ledger: &Ledger,
    cancel_requested: bool,
) -> Option<JobEvent> {
    match action {
        _ if cancel_requested => Some(JobEvent::Cancelled),
        FailureAction::Fail | FailureAction::Restart => Some(JobEvent::GaveUp),
        // Nothing was sent that a later run could resume.
        FailureAction::Pause
            if (error.is_refusal() || is_of_files(error)) && ledger.job().upload.is_none() =>
        {
            Some(JobEvent::GaveUp)
        }
        FailureAction::Retry | FailureAction::Pause => None,
    }
}

/// Whether the files could not be made ready to be read.
fn is_of_files(error: &Error) -> bool {
    matches!(error, Error::Hook { .. } | Error::NoSnapshot(_) | Error::NotInSnapshot { .. })
}

/// Keeps the job for the next run.
async fn pause(
    queue: &Queue,
    ledger: Ledger,
    log: &AgentLog,
    catalog: &Catalog,
    error: &Error,
) -> (&'static str, Option<String>) {
    let (state, parts) = (ledger.job().state.name(), ledger.part_count());
    tracing::error!(
        target: RUN_END,
        error = with_advice(error),
        state,
        parts,
        "the run stopped; the next run resumes the job"
    );
    // An interrupted run does not wait for its log, and a store that cannot be used is not asked again.
    let can_ship = !matches!(error, Error::Interrupted) && !error.is_unusable_store();
    let log_key = match log.enqueue(queue) {
        Ok(()) if can_ship => ship(log, queue, catalog).await,
        Ok(()) => None,
        Err(error) => {
            tracing::warn!(%error, "the log could not be queued; the next run sends it");
            None
        }
    };
    queue.write_view(Some(&ledger));
    (state, log_key)
}
