//! What others see of a queue, without changing it and without sled, also while a run is active.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::lock::{Holder, LOCK};
use super::records::Job;
use crate::error::{Error, QueueErrorKind, Result};

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
/// Those of the disk; [`Error::Queue`] where the view is damaged, or lost: the queue then knows of runs that it does not
/// show. [`Queue::job`](super::Queue::job) writes it again.
pub fn snapshot(folder: &Path) -> Result<Snapshot> {
    let view = read_view(folder)?;
    let idle = |view: Option<View>| match view {
        None if ["history", "job"].iter().any(|database| folder.join(database).exists()) => {
            Err(unusable(folder, "it is missing"))
        }
        view => Ok(Snapshot::Idle(view.unwrap_or_default())),
    };
    let file = match File::open(folder.join(LOCK)) {
        Err(e) if e.kind() == ErrorKind::NotFound => return idle(view),
        opened => opened.map_err(Error::io("look into", folder))?,
    };
    // Shared, so that two snapshots do not see each other as a run.
    match file.try_lock_shared() {
        Ok(()) => idle(view),
        // The first run has none before its job.
        Err(TryLockError::WouldBlock) => Ok(Snapshot::Running(Holder::of(folder), view.unwrap_or_default())),
        Err(TryLockError::Error(e)) => Err(Error::io("look into", folder)(e)),
    }
}

/// `None` where there is none.
pub(super) fn read_view(folder: &Path) -> Result<Option<View>> {
    let path = folder.join(VIEW);
    let bytes = match fs::read(&path) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        read => read.map_err(Error::io("read", &path))?,
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| unusable(folder, &format!("it is damaged ({error})")))
}

fn unusable(folder: &Path, reason: &str) -> Error {
    let (path, reason) = (folder.join(VIEW), format!("{reason}; the next run repairs it"));
    Error::Queue { action: "read", path, reason, kind: QueueErrorKind::Damaged }
}
