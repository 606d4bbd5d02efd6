//! Begins a new job.
//!
//! **Out:** a job that is recorded before anything is sent. Its name is later than that of every run known here, unless
//! that one was named under a wrong clock.

use std::path::Path;

use chrono::{DateTime, Utc};
use intellistor_storage::Error as StorageError;
use intellistor_storage::archive::Header;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::catalog::layout::TIMESTAMP;
use intellistor_storage::keys::DataKey;
use intellistor_storage::state::{Job, Ledger, Queue};
use intellistor_telemetry::run_log;

use crate::agent::open_job::OpenJob;
use crate::agent::setup::RunSetup;
use crate::alerts;
use crate::clock;
use crate::error::Result;
use crate::operations::backup::new_name;

pub(super) fn begin(setup: &RunSetup<'_>, queue: &mut Queue) -> Result<OpenJob> {
    let (policy, now) = (setup.policy, Utc::now());
    let time = next_time(queue, None, &setup.home.logs_folder(&policy.policy_id), now)?;
    let name = new_name(policy, time);
    let warnings = clock_warnings(queue, &name, now)?;
    let data_key = DataKey::generate();
    let header = Header::new(&name, setup.recipients.wrap(&data_key, &name.backup_id));
    let job = Job::new(name, header.encoded().to_vec(), setup.catalog.url(), now.timestamp_millis());
    let ledger = queue.begin(Job { copy_to: setup.copy_to(), policy_digest: policy.digest(), ..job })?;
    Ok(OpenJob { ledger, header, data_key, resumed: None, warnings })
}

/// The time that names a new run: later than those of jobs, queued logs and log files.
pub(super) fn next_time(
    queue: &Queue,
    waiting: Option<&Ledger>,
    logs: &Path,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>> {
    let mut taken: Vec<_> = queue.history()?.into_iter().map(|job| job.name.timestamp).collect();
    taken.extend(waiting.map(|ledger| ledger.job().name.timestamp));
    taken.extend(queue.outbox()?.into_iter().map(|log| log.timestamp));
    let logs = run_log::list(logs).map_err(StorageError::io("list the logs in", logs))?;
    taken.extend(logs.into_iter().map(|log| log.timestamp));
    Ok(clock::next_name(taken.iter().map(String::as_str), now))
}

/// Warnings about the clock, from the names of this run and of the one before.
pub(super) fn clock_warnings(queue: &Queue, name: &BackupName, began: DateTime<Utc>) -> Result<Vec<String>> {
    let last = queue.history()?.into_iter().next().map(|job| job.name.timestamp);
    let last = last.filter(|last| clock::is_future(last, began)).map(|last| {
        format!(
            "the previous run is dated {last}, but the clock says {}: the clock was wrong then, or is wrong now. That \
             date is ignored. Check this machine's clock",
            began.format(TIMESTAMP)
        )
    });
    Ok(last.into_iter().chain(alerts::of_name(name, began)).collect())
}
