//! Resumes a recorded job.
//!
//! **In:** a job without an obstacle. **Out:** the same job, its state as an earlier run recorded it. **After a crash:**
//! it is resumed once more.

use chrono::DateTime;
use intellistor_storage::archive::Header;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::DataKey;
use intellistor_storage::state::job::{JobEvent, JobState};
use intellistor_storage::state::{Ledger, Queue};

use crate::agent::abandon::store_of;
use crate::agent::begin::clock_warnings;
use crate::agent::open_job::{OpenJob, open_header};
use crate::agent::orphans::abort_unrecorded;
use crate::agent::report::Resumed;
use crate::agent::setup::RunSetup;
use crate::error::Result;
use crate::operations::backup::new_backup_id;

pub(super) async fn resume(setup: &RunSetup<'_>, queue: &mut Queue, ledger: Ledger) -> Result<OpenJob> {
    rename(setup, queue, &ledger).await?;
    let job = ledger.job();
    let (header, data_key) = open_header(&job, setup.recipients)?;
    let resumed = Resumed {
        state: job.state.name(),
        parts: ledger.part_count(),
        bytes: ledger.parts()?.iter().map(|part| part.segment.bytes).sum(),
    };
    if !matches!(job.state, JobState::Ended(_)) {
        ledger.advance(JobEvent::Resumed)?;
    }
    ledger.update(|job| {
        job.runs += 1;
        job.copy_to = job.copy_to.take().or_else(|| setup.copy_to());
    })?;
    let began = DateTime::from_timestamp_millis(job.began_ms).unwrap_or_default();
    let warnings = clock_warnings(queue, &job.name, began)?;
    Ok(OpenJob { ledger, header, data_key, resumed: Some(resumed), warnings })
}

/// Gives a job that has no upload yet a new name. It has nothing to lose, and of two copies of this home neither can
/// put its archive in the place of the other's.
async fn rename(setup: &RunSetup<'_>, queue: &Queue, ledger: &Ledger) -> Result<()> {
    let job = ledger.job();
    let is_unsent = matches!(job.state, JobState::Queued | JobState::Scanning | JobState::Transferring);
    if job.upload.is_some() || !is_unsent {
        return Ok(());
    }
    let name = BackupName { backup_id: new_backup_id(), ..job.name.clone() };
    let data_key = DataKey::generate();
    let header = Header::new(&name, setup.recipients.wrap(&data_key, &name.backup_id));
    // It is sealed under the old data key, and no sketch was made with it.
    ledger.update(|job| job.content_key = None)?;
    queue.rename(ledger, name, header.encoded().to_vec())?;
    // Where this fails, the clean-up tries again.
    let aborted = match store_of(&job, setup.catalog).await {
        Ok(store) => abort_unrecorded(&*store, &job.name.archive_key()).await,
        Err(error) => Err(error),
    };
    match aborted {
        Ok(()) => queue.forget_lost_job(&job.name)?,
        // The run itself is about to report it.
        Err(error) if error.is_unusable_store() => {}
        Err(error) => tracing::warn!(%error, "cannot look for an upload that was begun and not recorded"),
    }
    Ok(())
}
