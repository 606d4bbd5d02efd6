//! The lock on a queue: held by one run, released by the system when its process dies, however it dies.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disk::whole_file;
use crate::error::{Error, Result};

pub(super) const LOCK: &str = "lock";
pub(super) const HOLDER: &str = "holder.json";

/// The process that has a queue locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// Since when, in milliseconds since 1970 UTC.
    pub since_ms: i64,
}

impl Holder {
    pub(super) fn this_process() -> Self {
        Self { pid: std::process::id(), since_ms: chrono::Utc::now().timestamp_millis() }
    }

    /// Who has the queue in `folder`, as far as that is written down.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        whole_file::read_json(&folder.join(HOLDER))
    }
}

/// # Errors
/// [`Error::Busy`] when another process has it.
pub(super) fn lock(folder: &Path) -> Result<File> {
    /// A process that takes a snapshot of a queue holds its lock for a moment.
    const RETRY_PAUSE: Duration = Duration::from_millis(20);
    let path = folder.join(LOCK);
    let failed = |e| Error::io("lock", &path)(e);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    for attempt in 1.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempt < 10 => std::thread::sleep(RETRY_PAUSE),
            Err(TryLockError::WouldBlock) => {
                let process = Holder::of(folder).map(|holder| holder.pid);
                return Err(Error::Busy { folder: folder.to_owned(), process });
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
    }
    Ok(file)
}
