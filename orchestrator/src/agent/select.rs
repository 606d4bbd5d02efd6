//! Selects the job that a run works on.
//!
//! **In:** the job that the queue holds, if any. **Out:** a job to run: the one found, resumed, or a new one. A job
//! that cannot be resumed is ended first, in its own log. **After a crash:** the queue holds the old job or the new
//! one, never both.

use intellistor_storage::state::job::{Ending, JobEvent, JobState};
use intellistor_storage::state::{Job, Ledger, Queue};
use tracing::Instrument as _;

use crate::agent::abandon::abandon;
use crate::agent::begin::begin;
use crate::agent::close::close;
use crate::agent::open_job::{OpenJob, open_header};
use crate::agent::resume::resume;
use crate::agent::setup::RunSetup;
use crate::error::Result;

pub(super) async fn select(
    setup: &RunSetup<'_>,
    queue: &mut Queue,
    found: Option<Ledger>,
    notices: &mut Vec<String>,
) -> Result<OpenJob> {
    let Some(ledger) = found else { return begin(setup, queue) };
    let job = ledger.job();
    if has_ended_without_backup(&job) {
        // Only its log was still to be shipped when the earlier run crashed.
        let log = setup.log(&job.name.timestamp)?;
        close(queue, ledger, &log, setup.catalog).instrument(log.span()).await?;
        return begin(setup, queue);
    }
    let Some(obstacle) = obstacle(setup, &job) else { return resume(setup, queue, ledger).await };
    notices.push(format!("the job of {} was not resumed: {obstacle}", job.name.timestamp));
    notices.extend(end(setup, queue, ledger, obstacle).await?);
    begin(setup, queue)
}

fn has_ended_without_backup(job: &Job) -> bool {
    matches!(job.state, JobState::ShippingLogs(Ending::Failed | Ending::Cancelled))
}

/// Why a job cannot be resumed under this policy, store and key.
fn obstacle(setup: &RunSetup<'_>, job: &Job) -> Option<String> {
    if job.policy_digest != setup.policy.digest() {
        Some("the policy was changed after it began".to_owned())
    } else if setup.options.full && job.base.as_ref().is_some_and(|base| base.backup.is_some()) {
        Some("it depends on an earlier backup, and a full backup was asked for".to_owned())
    } else if job.store != setup.catalog.url() {
        Some("backups now go to another store".to_owned())
    } else {
        open_header(job, setup.recipients).err().map(|error| error.to_string())
    }
}

/// Ends a job that cannot be resumed. Returns what could not be removed from its store.
async fn end(
    setup: &RunSetup<'_>,
    queue: &mut Queue,
    ledger: Ledger,
    obstacle: String,
) -> Result<Option<String>> {
    let log = setup.log(&ledger.job().name.timestamp)?;
    let end = async {
        tracing::warn!(why = obstacle, "the job cannot be resumed; ending it");
        ledger.update(|job| job.last_error = Some(obstacle))?;
        let leftover = abandon(&ledger, setup.catalog, JobEvent::GaveUp).await?;
        close(queue, ledger, &log, setup.catalog).await?;
        Ok(leftover)
    };
    end.instrument(log.span()).await
}
