//! The order of a run.
//!
//! ```text
//! select   the job that was found, resumed; or a new one, after the old one is ended   select, begin, resume
//! open     its log, and in it the root of its trace                                    log
//! prepare  the store, claim the policy, clean up abandoned uploads                     known_stores, orphans
//! run      the job until the backup exists, or nothing more can be done now            job_run
//! hooks    `before` in the job's run, `after` once the backup exists, `on_failure` else   hooks
//! retire   apply the policy's retention, delete what was forgotten long ago            retire
//! settle   close the job, keep it for the next run, or end it without a backup         settle, abandon
//! ship     the log, and those of earlier runs                                          close, ship_logs
//! report   what was made, and what needs attention                                     report
//! tell     those whom the policy names                                                 notices
//! ```
//! **After a crash:** every step is recorded before the next begins, so the next run resumes at the step that was not
//! recorded. Ordering law (must): job recorded, upload begun, parts committed, archive completed, manifest put, log in
//! the outbox, job closed.

use std::time::Instant;

use intellistor_storage::state::{Ledger, Queue};
use intellistor_telemetry::names::span;
use tracing::Instrument as _;

use crate::advice::with_advice;
use crate::agent::begin::begin;
use crate::agent::failure_action::FailureAction;
use crate::agent::job_run::{JobOutcome, JobRun, JobRunEnd};
use crate::agent::log::AgentLog;
use crate::agent::monitor::RunMonitor;
use crate::agent::open_job::OpenJob;
use crate::agent::report::AgentReport;
use crate::agent::retire::{Retired, retire};
use crate::agent::select::select;
use crate::agent::settle::{Settled, settle};
use crate::agent::setup::RunSetup;
use crate::agent::{hooks, known_stores, orphans};
use crate::error::Result;
use crate::operations::report::Sums;
use crate::operations::root_span;

/// Runs the policy's job, `found` in the queue or new. One that turns out to be lost is begun again.
pub(super) async fn run(
    setup: &RunSetup<'_>,
    queue: &mut Queue,
    found: Option<Ledger>,
) -> Result<AgentReport> {
    let mut notices = queue.take_notices();
    let job = select(setup, queue, found, &mut notices).await?;
    let mut report = run_in_log(setup, queue, job, &mut notices).await?;
    if let Err(error) = &report.outcome
        && report.has_failed()
        && FailureAction::of(error) == FailureAction::Restart
    {
        notices.push(format!("the job of {} was lost and restarted: {error}", report.name.timestamp));
        let job = begin(setup, queue)?;
        report = run_in_log(setup, queue, job, &mut notices).await?;
    }
    report.notices = notices;
    Ok(report)
}

/// Runs a job within its log and its trace, and counts it.
async fn run_in_log(
    setup: &RunSetup<'_>,
    queue: &mut Queue,
    job: OpenJob,
    notices: &mut Vec<String>,
) -> Result<AgentReport> {
    let begun = Instant::now();
    let log = setup.log(&job.ledger.job().name.timestamp)?;
    let root = log.span();
    let trace_id = log.link_trace(&root, &job.ledger)?;
    let mut report = run_job(setup, queue, job, &log, notices).instrument(root.clone()).await?;
    report.trace_id = trace_id;
    report.record_in(&root);
    let done = report.outcome.as_ref().map(Sums::from);
    root_span::count(span::RUN, &setup.policy.policy_id, begun, &root, done);
    drop(root);
    notices.append(&mut report.notices);
    notices.extend(log.failures());
    if let Err(error) = log.remove_old(queue, setup.policy.logs.keep_days) {
        let notice = format!("old logs could not be removed: {error}");
        tracing::warn!("{notice}");
        notices.push(notice);
    }
    Ok(report)
}

async fn run_job(
    setup: &RunSetup<'_>,
    queue: &mut Queue,
    job: OpenJob,
    log: &AgentLog,
    notices: &[String],
) -> Result<AgentReport> {
    let RunSetup { catalog, policy, options, .. } = setup;
    let recorded = job.ledger.job();
    log.begin(policy, &recorded, &job.header, job.resumed, catalog.machine.host());
    notices.iter().chain(&job.warnings).for_each(|text| tracing::warn!("{text}"));
    let recorded_parts = job.ledger.part_count();
    let cancel = options.run.cancel.child_token();
    let monitor = RunMonitor::start(
        &setup.home.queue_folder(&policy.policy_id),
        job.ledger.clone(),
        options.run.progress.clone(),
        cancel.clone(),
    );
    let mut run = JobRun::new(setup, queue, &job, cancel.clone())?;
    let mut own_notices = Vec::new();
    // Before anything is written, the claim included.
    let mut outcome = match known_stores::prepare(queue, &*catalog.store).await {
        Err(error) => JobOutcome::stopped(error),
        Ok(()) if let Err(error) = run.require_snapshots().await => JobOutcome::stopped(error),
        Ok(()) => {
            let clean_up = async {
                match run.claim().await {
                    Ok(()) => orphans::clean_up(queue, &*catalog.store, &recorded.name).await,
                    // The run claims again, and reports it.
                    Err(_) => Ok(()),
                }
            };
            if let Some(Err(error)) = cancel.run_until_cancelled(clean_up).await {
                let error = with_advice(&error);
                tracing::warn!(%error, "cannot look for abandoned uploads");
                own_notices.push(format!("could not check for abandoned uploads, which are billed: {error}"));
            }
            run.run().await
        }
    };
    run.release_snapshots().await;
    let mut retired = Retired::default();
    if let JobOutcome::Published(backup) = &mut outcome {
        log.published(backup);
        hooks::after(policy, &job.ledger, backup, &cancel).await?;
        retired = retire(setup, &job.ledger, backup, &cancel).await?;
    }
    if let JobOutcome::Stopped(_, error) = &outcome {
        own_notices.extend(hooks::on_failure(policy, &job.ledger, error, &cancel).await);
    }
    let JobRunEnd { copies, reused_parts, notices } = run.end();
    own_notices.extend(notices);
    own_notices.append(&mut retired.notices);
    if let Err(error) = known_stores::remember(queue, copies.stores().await) {
        tracing::warn!(%error, "cannot record which store the copy's folder is");
    }
    let cancel_requested = monitor.stop().await;
    let OpenJob { ledger, resumed, .. } = job;
    let parts_reused = reused_parts.unwrap_or(recorded_parts);
    let parts_sent = ledger.part_count().saturating_sub(parts_reused);
    let settled = settle(queue, ledger, log, catalog, outcome, cancel_requested).await?;
    let Settled { state, log_key, outcome } = settled;
    Ok(AgentReport {
        name: recorded.name,
        state,
        resumed,
        parts_reused,
        parts_sent,
        log: log.path(),
        log_key,
        trace_id: None,
        forgotten: retired.forgotten,
        swept: retired.swept,
        notices: own_notices,
        outcome,
        finished_first: None,
    })
}
