//! What others see of a queue, without changing it and without sled, also while a run is active.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::lock::{Holder, LOCK};
use super::records::Job;
use crate::disk::whole_file;
use crate::error::{Error, Result};

pub(super) const VIEW: &str = "view.json";

/// What others can see of a queue.
#[derive(Debug)]
pub enum Snapshot {
    /// A run is active.
    Running(Option<Holder>, View),
    /// None is.
    Idle(View),
}

/// The job and the history, as the last run wrote them down.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct View {
    /// The job that has not ended.
    pub job: Option<Job>,
    /// Jobs that have, newest first.
    pub history: Vec<Job>,
    /// The newest job that made a backup, where none of `history` did.
    #[serde(default)]
    pub last_good: Option<Job>,
    /// Logs that are still to be sent.
    pub outbox: usize,
}

/// Looks at a queue without changing it, also while a run is active.
///
/// # Errors
/// Those of the disk.
pub fn snapshot(folder: &Path) -> Result<Snapshot> {
    let view = whole_file::read_json(&folder.join(VIEW)).unwrap_or_default();
    let file = match File::open(folder.join(LOCK)) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Snapshot::Idle(view)),
        opened => opened.map_err(Error::io("look into", folder))?,
    };
    // Shared, so that two snapshots do not see each other as a run.
    match file.try_lock_shared() {
        Ok(()) => Ok(Snapshot::Idle(view)),
        Err(TryLockError::WouldBlock) => Ok(Snapshot::Running(Holder::of(folder), view)),
        Err(TryLockError::Error(e)) => Err(Error::io("look into", folder)(e)),
    }
}
